//! Whom MOT codes are trusted from: root keys and revoked certificates, loaded by the operator.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use thiserror::Error;

use super::certificate::{Expiry, SM2};
use crate::{Bcd8, UnixSeconds, reader::Reader, sm2::PublicKey};

/// Length of a root record in bytes.
const ROOT_LEN: usize = 144;
const RID: [u8; 5] = [0xa0, 0x00, 0x00, 0x06, 0x32];

/// Roots by index, and what was revoked.
#[derive(Debug, Default)]
pub struct MotTrust {
    roots: BTreeMap<u8, Root>,
    revoked: HashSet<(Bcd8, [u8; 3])>,
    test: bool,
}

/// A root whose self-signature was verified.
#[derive(Debug)]
pub struct Root {
    index: u8,
    expiry: Expiry,
    xy: [u8; 64],
    key: PublicKey,
}

/// Roots or revocations that cannot be used.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Not TOML, a key unknown or missing, or a value that cannot be.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A root record that is not as the table says.
    #[error("root record {position}: {field}: {rule}")]
    Record {
        /// Which record of the file, from 1.
        position: usize,
        /// Its field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Two roots under one index.
    #[error("root record {position}: index {index} was given before")]
    SameIndex {
        /// Which record of the file, from 1.
        position: usize,
        /// The index.
        index: u8,
    },
    /// A serial that has more than three bytes.
    #[error("revoked serial {0}: at most 16777215")]
    Serial(u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    #[serde(default)]
    test: bool,
    #[serde(default, rename = "root")]
    roots: Vec<RootEntry>,
    #[serde(default)]
    revoked: Vec<RevokedEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootEntry {
    record: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedEntry {
    issuer: Bcd8,
    serial: u32,
}

impl MotTrust {
    /// Reads `[[root]] record = "hex"` and `[[revoked]] issuer, serial` from TOML.
    pub fn from_toml(text: &str) -> Result<Self, TrustError> {
        let file: TrustFile = toml::from_str(text)?;
        let roots = file.roots.into_iter().map(|entry| entry.record);
        let mut trust = Self::new(roots, file.revoked.into_iter().map(|entry| (entry.issuer, entry.serial)))?;
        trust.test = file.test;
        Ok(trust)
    }

    /// Puts together root records (hexadecimal) and revoked (issuer, serial).
    pub fn new(
        roots: impl IntoIterator<Item = String>,
        revoked: impl IntoIterator<Item = (Bcd8, u32)>,
    ) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        for (before, record) in roots.into_iter().enumerate() {
            let position = before + 1;
            let root =
                Root::parse(&record).map_err(|(field, rule)| TrustError::Record { position, field, rule })?;
            let index = root.index;
            if trust.roots.insert(index, root).is_some() {
                return Err(TrustError::SameIndex { position, index });
            }
        }
        for (issuer, serial) in revoked {
            let [0, serial @ ..] = serial.to_be_bytes() else { return Err(TrustError::Serial(serial)) };
            trust.revoked.insert((issuer, serial));
        }
        Ok(trust)
    }

    /// Whether these are test keys.
    pub const fn is_test(&self) -> bool {
        self.test
    }

    pub(super) fn root(&self, index: u8) -> Option<&Root> {
        self.roots.get(&index)
    }

    pub(super) fn is_revoked(&self, issuer: Bcd8, serial: [u8; 3]) -> bool {
        self.revoked.contains(&(issuer, serial))
    }
}

type Refusal = (&'static str, &'static str);

impl Root {
    fn parse(record: &str) -> Result<Self, Refusal> {
        let mut bytes = [0; ROOT_LEN];
        hex::decode_to_slice(record, &mut bytes)
            .map_err(|_| ("record", "must be 144 bytes in hexadecimal"))?;
        Self::fields(&bytes).and_then(|root| root.ok_or(("record", "is cut short")))
    }

    fn fields(bytes: &[u8; ROOT_LEN]) -> Result<Option<Self>, Refusal> {
        let mut reader = Reader::new(bytes);
        expect(reader.array() == Some(&[0x21]), "header", "must be 21")?;
        let _service_id: Option<&[u8; 4]> = reader.array();
        expect(reader.array() == Some(&RID), "RID", "must be A000000632")?;
        let Some(index) = reader.u8() else { return Ok(None) };
        let expiry = reader.array().copied().and_then(Expiry::parse);
        let expiry = expiry.ok_or(("expiry", "must be MMYY in BCD digits, the month 01 to 12"))?;
        expect(reader.u8() == Some(SM2), "algorithm", "must be 04, SM2")?;
        expect(matches!(reader.u8(), Some(0x00 | 0x20)), "parameter", "must be 00 or 20")?;
        expect(reader.u8() == Some(0x40), "key length", "must be 40")?;
        let (Some(xy), Some(signature)) = (reader.array(), reader.array()) else { return Ok(None) };
        let key = PublicKey::from_xy(xy).ok_or(("key", "must be a point on the SM2 curve"))?;
        let signed = bytes.get(..80).is_some_and(|message| key.verifies(message, signature));
        expect(signed, "self-signature", "does not verify")?;
        Ok(Some(Self { index, expiry, xy: *xy, key: key.fixed() }))
    }

    pub(super) fn is_expired(&self, now: UnixSeconds) -> bool {
        self.expiry.is_over(now)
    }

    pub(super) const fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(super) const fn xy(&self) -> &[u8; 64] {
        &self.xy
    }
}

fn expect(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err((field, rule)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped_record() -> String {
        let file: TrustFile = toml::from_str(include_str!("../../mot-trust.toml")).unwrap();
        file.roots.into_iter().next().unwrap().record
    }

    fn refusal(record: String) -> String {
        MotTrust::new([record], []).unwrap_err().to_string()
    }

    #[test]
    fn a_root_whose_self_signature_fails_is_refused_at_load() {
        let record = shipped_record();
        assert!(MotTrust::new([record.clone()], []).is_ok());
        let last = if record.ends_with('0') { "1" } else { "0" };
        let forged = format!("{}{last}", &record[..record.len() - 1]);
        assert_eq!(refusal(forged), "root record 1: self-signature: does not verify");
    }

    #[test]
    fn a_root_with_a_changed_field_is_refused_naming_it() {
        for (at, field) in [
            (0, "header"),
            (5, "RID"),
            (11, "expiry"),
            (13, "algorithm"),
            (14, "parameter"),
            (15, "key length"),
        ] {
            let mut bytes = hex::decode(shipped_record()).unwrap();
            bytes[at] = 0xff;
            assert!(refusal(hex::encode(bytes)).contains(field), "{field}");
        }
    }

    #[test]
    fn one_index_serves_one_root() {
        let twice = MotTrust::new([shipped_record(), shipped_record()], []).unwrap_err();
        assert_eq!(twice.to_string(), "root record 2: index 1 was given before");
    }

    #[test]
    fn a_serial_of_four_bytes_is_refused() {
        let error = MotTrust::new([], [("99990001".parse().unwrap(), 1 << 24)]).unwrap_err();
        assert!(error.to_string().contains("16777215"));
    }
}
