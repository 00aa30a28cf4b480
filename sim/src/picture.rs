//! A ride code as a picture: what a phone's screen shows.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{ImageFormat, Luma};
use qrcode::{EcLevel, QrCode, Version, bits::Bits};

/// Pixels a module: a MOT code is then about 650 pixels wide.
const MODULE: u32 = 8;

/// These bytes as a QR code in a PNG, with its quiet zone, error correction M. Refuses more than 2331 bytes.
pub fn png(payload: &[u8]) -> Result<Vec<u8>> {
    let code = (1..=40).find_map(|version| encode(payload, Version::Normal(version)));
    let code = code.context("too long for a QR code: at most 2331 bytes")?;
    let picture = code.render::<Luma<u8>>().module_dimensions(MODULE, MODULE).build();
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// `None` if they do not fit. In one byte segment: the crate's own choice mixes in digits and Kanji, and readers turn
/// Kanji into text.
fn encode(payload: &[u8], version: Version) -> Option<QrCode> {
    let mut bits = Bits::new(version);
    bits.push_byte_data(payload).ok()?;
    bits.push_terminator(EcLevel::M).ok()?;
    QrCode::with_bits(bits, EcLevel::M).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_quiet_zone_of_four_modules_and_the_smallest_size_that_holds_it() {
        for (length, modules) in [(14, 21), (15, 25), (2331, 177)] {
            let picture = image::load_from_memory(&png(&vec![0x81; length]).unwrap()).unwrap().to_luma8();
            assert_eq!(picture.width(), (modules + 8) * MODULE, "{length} bytes");
            let quiet = 4 * MODULE;
            let inside = |at: u32| at >= quiet && at < picture.width() - quiet;
            let dark = |(_, _, pixel): &(u32, u32, &Luma<u8>)| pixel.0[0] == 0;
            assert!(picture.enumerate_pixels().filter(dark).all(|(x, y, _)| inside(x) && inside(y)));
            assert_eq!(picture.get_pixel(quiet, quiet).0[0], 0, "its corner is dark");
        }
    }

    #[test]
    fn what_no_qr_code_holds_is_refused() {
        assert!(png(&[0; 2332]).unwrap_err().to_string().contains("at most 2331 bytes"));
    }
}
