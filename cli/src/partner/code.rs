//! A code, as a person reads it: its fields, and each check.

use std::fmt;

use ridegate_adapters::{Check, CodeError, Field, NoMemory, Opened, PartnerId, Partners, UnixSeconds};

/// What came of looking at a code.
pub(super) struct Looked {
    /// Whose, in which format, and how long.
    head: String,
    fields: Vec<Field>,
    /// In their order; what failed says why, and what comes after it was not reached.
    checks: Vec<(Check, Said)>,
    /// What kept it from being checked at all.
    refusal: Option<String>,
    pub(super) opened: Option<Opened>,
}

enum Said {
    Passed,
    Failed(CodeError),
    NotReached,
}

/// Looks at a code as a gateway with these partners would.
pub(super) fn look(partners: &Partners, id: &PartnerId, payload: &[u8], now: UnixSeconds) -> Looked {
    let len = payload.len();
    let Ok(scanned) = partners.recognise(payload) else {
        let refusal = Some("no format claims these bytes".to_owned());
        let head = format!("nobody's, {len} bytes");
        return Looked { head, fields: vec![], checks: vec![], refusal, opened: None };
    };
    let whose = scanned.partner().map_or("nobody's", |partner| partner.id.as_str());
    let opened = scanned.open(now, &NoMemory);
    let failed = opened.as_ref().err().copied();
    let mut reached = true;
    let check = |check: &Check| {
        let said = match failed.filter(|error| error.check() == Some(*check)) {
            Some(error) => Said::Failed(error),
            None if reached => Said::Passed,
            None => Said::NotReached,
        };
        reached &= matches!(said, Said::Passed);
        (*check, said)
    };
    let another = scanned.partner().filter(|partner| partner.id != *id);
    Looked {
        head: format!("{} of {whose}, {len} bytes", scanned.format()),
        checks: scanned.about().checks.iter().map(check).collect(),
        fields: scanned.fields(),
        refusal: another.map(|partner| format!("it is {}'s, not {id}'s", partner.id)),
        opened: opened.ok(),
    }
}

impl Looked {
    /// Whether nothing is wrong with it, as far as can be told here.
    pub(super) const fn passed(&self) -> bool {
        self.refusal.is_none() && self.opened.is_some()
    }
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.head)?;
        let width = self.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
        for Field { name, at, len, shown } in &self.fields {
            writeln!(f, "  {at:>5} {len:>4}  {name:<width$}  {shown}")?;
        }
        for (check, said) in &self.checks {
            let rule = check.rule();
            match said {
                Said::Passed => writeln!(f, "  passed       {rule}")?,
                Said::Failed(error) => writeln!(f, "  FAILED       {rule}: {error} ({})", error.name())?,
                Said::NotReached => writeln!(f, "  not reached  {rule}")?,
            }
        }
        if let Some(refusal) = &self.refusal {
            writeln!(f, "  FAILED       {refusal}")?;
        }
        match (&self.refusal, &self.opened) {
            (None, Some(Opened::Checked(_))) => f.write_str("  genuine"),
            (None, Some(Opened::Online(_))) => {
                f.write_str("  in form; whether it is genuine only the partner can tell")
            }
            _ => f.write_str("  not a code that this partner's riders could use"),
        }
    }
}
