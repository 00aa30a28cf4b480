//! What a consumer-presented code holds, and everything its structure must be.

use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};

use super::{
    pan::Pan,
    tlv::{is_strict, objects},
};
use crate::CodeError;

/// Base64 of `85 05 "CPV01" 6`: how every payload begins.
pub(crate) const BEGINS: &[u8] = b"hQVDUFYwMW";

/// A phone has a few; a payload could hold hundreds, each to be looked up.
const MOST_APPLICATIONS: usize = 16;

const PAYLOAD_FORMAT: u32 = 0x85;
const APPLICATION: u32 = 0x61;
const COMMON_DATA: u32 = 0x62;
const AID: u32 = 0x4f;
pub(super) const TRACK2: u32 = 0x57;
const PAN: u32 = 0x5a;

/// The bytes of a payload: base64 with its padding, in its one form.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<u8>, CodeError> {
    let refuse = |_: DecodeError| malformed("encoding", "must be base64 with its padding");
    BASE64_STANDARD.decode(payload).map_err(refuse)
}

/// A consumer-presented code (`EMVCo` QR Code Specification, Consumer-Presented Mode) whose structure is in order.
#[derive(Clone, Copy)]
pub struct CpmCode<'a> {
    bytes: &'a [u8],
    /// From the common data template: of every application that has none of its own.
    common_pan: Option<Pan>,
}

/// One application template.
pub(super) struct Application<'a> {
    /// Which scheme.
    pub(super) aid: &'a [u8],
    pub(super) pan: Option<Pan>,
}

impl<'a> CpmCode<'a> {
    /// Reads a code's bytes, base64 taken off. [`CodeError::Malformed`] names the first field that is not as the
    /// specification says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodeError> {
        if !is_strict(bytes) {
            return Err(malformed("structure", "must be BER-TLV, every length in its shortest form"));
        }
        let mut tags = objects(bytes).map(|object| object.tag);
        if [tags.next(), tags.next()] != [Some(PAYLOAD_FORMAT), Some(APPLICATION)] {
            return Err(malformed(
                "payload format indicator",
                "must come first, an application template next",
            ));
        }
        if tags.any(|tag| tag == PAYLOAD_FORMAT) {
            return Err(malformed("payload format indicator", "must be there once"));
        }
        let mut common = objects(bytes).filter(|object| object.tag == COMMON_DATA);
        let common_pan = common.next().map(|template| pan(template.value)).transpose()?.flatten();
        if common.next().is_some() {
            return Err(malformed("common data template", "must be there once at the most"));
        }
        let applications = objects(bytes).filter(|object| object.tag == APPLICATION);
        for (before, template) in applications.enumerate() {
            if before == MOST_APPLICATIONS {
                return Err(malformed("application template", "must be there 16 times at the most"));
            }
            application(template.value)?;
        }
        Ok(Self { bytes, common_pan })
    }

    /// Its applications, in the order in which the phone would have them tried.
    pub(super) fn applications(&self) -> impl Iterator<Item = Application<'a>> {
        let common = self.common_pan;
        let templates = objects(self.bytes).filter(|object| object.tag == APPLICATION);
        // All of them were read before, so none is left out.
        templates.filter_map(|template| application(template.value).ok()).map(move |application| {
            let pan = application.pan.or(common);
            Application { pan, ..application }
        })
    }
}

fn application(template: &[u8]) -> Result<Application<'_>, CodeError> {
    let aid = one(template, AID, "AID")?.unwrap_or_default();
    if !(5..=16).contains(&aid.len()) {
        return Err(malformed("AID", "must be there, with 5 to 16 bytes"));
    }
    Ok(Application { aid, pan: pan(template)? })
}

/// The card number of a template, if it has one.
fn pan(template: &[u8]) -> Result<Option<Pan>, CodeError> {
    let track2 = one(template, TRACK2, "track 2")?.map(|bytes| {
        Pan::from_track2(bytes).ok_or(malformed("track 2", "must be 8 to 19 digits, D, and digits"))
    });
    let number = one(template, PAN, "PAN")?
        .map(|bytes| Pan::from_bcd(bytes).ok_or(malformed("PAN", "must be 8 to 19 BCD digits")));
    match (track2.transpose()?, number.transpose()?) {
        (Some(one), Some(other)) if one != other => Err(malformed("PAN", "must be the same in 57 and 5A")),
        (one, other) => Ok(one.or(other)),
    }
}

/// The value of a tag that may be there once.
fn one<'a>(template: &'a [u8], tag: u32, field: &'static str) -> Result<Option<&'a [u8]>, CodeError> {
    let mut values = objects(template).filter(|object| object.tag == tag).map(|object| object.value);
    let value = values.next();
    if values.next().is_some() { Err(malformed(field, "must be there once")) } else { Ok(value) }
}

pub(super) const fn malformed(field: &'static str, rule: &'static str) -> CodeError {
    CodeError::Malformed { field, rule }
}
