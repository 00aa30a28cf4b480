//! An answer, as a person reads it.

use jiff::SignedDuration;
use ridegate_proto::validator::v1::CheckResponse;

use super::paint::Paint;
use crate::refusal::plain;

/// One thing a line; what the answer does not have has no line.
pub(super) fn shown(answer: &CheckResponse, paint: Paint) -> String {
    let prompt = answer.prompt.clone().unwrap_or_default();
    let screen = |text: &str| match text {
        "" => String::new(),
        text => paint.on_screen(answer, &plain(text)),
    };
    let verdict = format!(
        "{} {}",
        answer.verdict().as_str_name().trim_start_matches("VERDICT_"),
        answer.reason().as_str_name().trim_start_matches("REASON_"),
    );
    let age = answer.evidence_age.as_ref().map(|age| format!("{:#}", SignedDuration::from_secs(age.seconds)));
    let degraded = answer
        .degraded
        .map(|degraded| degraded.cause().as_str_name().trim_start_matches("DEGRADED_CAUSE_").to_owned());
    let lines = [
        ("verdict", screen(&verdict)),
        ("prompt", screen(&prompt.zh)),
        ("", screen(&prompt.en)),
        ("help", plain(&prompt.help)),
        ("partner", plain(&answer.partner)),
        ("evidence age", age.unwrap_or_default()),
        ("degraded", degraded.unwrap_or_default()),
        ("retry of", plain(&answer.retry_of)),
        ("policy", plain(&answer.policy_version)),
        ("verdict id", plain(&answer.verdict_id)),
    ];
    let present = lines.into_iter().filter(|(_, text)| !text.is_empty());
    present.map(|(what, text)| format!("  {what:<12} {text}\n")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use clap::ColorChoice;
    use ridegate_proto::validator::v1::{Color, Degraded, DegradedCause, Prompt, Reason, Verdict};

    use super::*;

    fn inspect() -> CheckResponse {
        CheckResponse {
            verdict_id: "v-2".into(),
            verdict: Verdict::Inspect.into(),
            reason: Reason::TestOverdue.into(),
            prompt: Some(Prompt {
                zh: "请配合工作人员".into(),
                en: "Please see\x1b[2J staff".into(),
                color: Color::Yellow.into(),
                help: "96165".into(),
                ..Prompt::default()
            }),
            partner: "yikatong".into(),
            evidence_age: Some(prost_types::Duration { seconds: 93, nanos: 999_999_999 }),
            degraded: Some(Degraded { cause: DegradedCause::Authority.into() }),
            policy_version: "beijing-2022/1".into(),
            retry_of: "v-1".into(),
            ..CheckResponse::default()
        }
    }

    #[test]
    fn everything_an_answer_has_gets_a_line_and_nothing_else() {
        let shown_plain = shown(&inspect(), Paint::new(ColorChoice::Never));
        let lines: Vec<_> = shown_plain.lines().collect();
        assert_eq!(
            lines,
            [
                "  verdict      INSPECT TEST_OVERDUE",
                "  prompt       请配合工作人员",
                "               Please see [2J staff",
                "  help         96165",
                "  partner      yikatong",
                "  evidence age 1m 33s",
                "  degraded     AUTHORITY",
                "  retry of     v-1",
                "  policy       beijing-2022/1",
                "  verdict id   v-2",
            ]
        );
        let empty = shown(&CheckResponse::default(), Paint::new(ColorChoice::Never));
        assert_eq!(empty, "  verdict      UNSPECIFIED UNSPECIFIED\n");
    }

    #[test]
    fn the_screen_is_green_only_for_allow() {
        let ground = |verdict: Verdict, color: Color| {
            let answer = CheckResponse {
                verdict: verdict.into(),
                prompt: Some(Prompt { color: color.into(), ..Prompt::default() }),
                ..CheckResponse::default()
            };
            let shown = shown(&answer, Paint::new(ColorChoice::Always));
            ["42", "43", "41"]
                .into_iter()
                .filter(|ground| shown.contains(&format!("\x1b[{ground}m")))
                .collect::<Vec<_>>()
        };
        assert_eq!(ground(Verdict::Allow, Color::Ordinary), ["42"]);
        assert_eq!(ground(Verdict::Inspect, Color::Yellow), ["43"]);
        assert_eq!(ground(Verdict::Inspect, Color::Red), ["41"]);
        assert_eq!(ground(Verdict::Inspect, Color::Ordinary), ["43"]);
        assert_eq!(ground(Verdict::Unspecified, Color::Ordinary), ["43"]);
    }
}
