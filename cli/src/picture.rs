//! Ride codes in pictures: screenshots, and photos of a phone's screen.

use std::path::Path;

use anyhow::{Context, Result, bail};
use image::{
    DynamicImage, GrayImage, ImageReader, Luma,
    imageops::{self, FilterType},
};
use rqrr::PreparedImage;

/// Photos are looked at in at most about this size, in pixels a side: a code's modules are still several pixels wide.
const ENOUGH: u32 = 1600;

/// Below this size, in pixels a side, a code's modules may be too small to be told apart.
const SMALL: u32 = 500;

/// How far a spot's surroundings reach, in pixels: beyond the corners' dark squares.
const SURROUNDINGS: f32 = 40.0;

/// What the QR codes of a picture (PNG or JPEG) hold, byte for byte, from the top down. Refuses a picture in which none
/// can be read.
pub(crate) fn read(file: &Path) -> Result<Vec<Vec<u8>>> {
    let name = file.display();
    let reader = ImageReader::open(file).with_context(|| format!("{name}: cannot be read"))?;
    let reader = reader.with_guessed_format().with_context(|| format!("{name}: cannot be read"))?;
    let picture = reader.decode().with_context(|| format!("{name}: not a PNG or JPEG picture"))?;
    codes(&picture).with_context(|| format!("{name}"))
}

/// Looks at the picture as it is, and in other ways as long as something in it cannot be read.
fn codes(picture: &DynamicImage) -> Result<Vec<Vec<u8>>> {
    let picture = grey(picture);
    let mut best = Sight::default();
    for view in VIEWS {
        let sight = Sight::of(view(&picture));
        let complete = sight.unreadable == 0 && !sight.codes.is_empty();
        if (sight.codes.len(), sight.unreadable) > (best.codes.len(), best.unreadable) {
            best = sight;
        }
        if complete {
            break;
        }
    }
    match best {
        Sight { codes, unreadable: 0 } if codes.is_empty() => bail!("no QR code found"),
        Sight { codes, .. } if codes.is_empty() => {
            bail!("there is a QR code, but it cannot be read: try a sharper or straighter picture")
        }
        Sight { codes, .. } => Ok(codes),
    }
}

/// What can be seen in a picture.
#[derive(Default)]
struct Sight {
    codes: Vec<Vec<u8>>,
    unreadable: usize,
}

impl Sight {
    fn of(picture: GrayImage) -> Self {
        let mut picture = PreparedImage::prepare(picture);
        let mut grids = picture.detect_grids();
        grids.sort_by_key(|grid| {
            let [corner, ..] = grid.bounds;
            (corner.y, corner.x)
        });
        let mut sight = Self::default();
        for grid in grids {
            let mut code = Vec::new();
            match grid.decode_to(&mut code) {
                Ok(_) => sight.codes.push(code),
                Err(_) => sight.unreadable += 1,
            }
        }
        sight
    }
}

/// In what ways a picture is looked at: small modules are read when they are larger, noise when it is averaged away, weak
/// contrast and shadow when every spot is compared with its surroundings.
const VIEWS: [fn(&GrayImage) -> GrayImage; 6] = [
    GrayImage::clone,
    resized,
    |picture| smooth(&resized(picture), 1.5),
    |picture| evened(&resized(picture)),
    |picture| evened(&smooth(&resized(picture), 3.0)),
    |picture| inverted(&resized(picture)),
];

/// Transparent is white, as on paper.
fn grey(picture: &DynamicImage) -> GrayImage {
    let picture = picture.to_luma_alpha16();
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [shade, opacity] = picture.get_pixel(x, y).0.map(u32::from);
        let all = u32::from(u16::MAX);
        let seen = (shade * opacity + all * (all - opacity)) / all;
        Luma([u8::try_from(seen >> 8).unwrap_or(u8::MAX)])
    })
}

/// A small one twice as large, a large one as large as is enough.
fn resized(picture: &GrayImage) -> GrayImage {
    let (width, height) = picture.dimensions();
    let (times, of) = match width.max(height) {
        longest if longest > ENOUGH => (ENOUGH, longest),
        longest if longest < SMALL => (2, 1),
        _ => return picture.clone(),
    };
    let side = |length: u32| {
        u32::try_from(u64::from(length) * u64::from(times) / u64::from(of)).unwrap_or(ENOUGH).max(1)
    };
    imageops::resize(picture, side(width), side(height), FilterType::Triangle)
}

fn smooth(picture: &GrayImage, by: f32) -> GrayImage {
    imageops::fast_blur(picture, by)
}

/// Black where it is darker than its surroundings, else white.
fn evened(picture: &GrayImage) -> GrayImage {
    let surroundings = smooth(picture, SURROUNDINGS);
    let mut picture = picture.clone();
    for (pixel, around) in picture.pixels_mut().zip(surroundings.pixels()) {
        let darker = u32::from(pixel.0[0]) * 100 < u32::from(around.0[0]) * 96;
        pixel.0[0] = if darker { 0 } else { u8::MAX };
    }
    picture
}

fn inverted(picture: &GrayImage) -> GrayImage {
    let mut picture = picture.clone();
    imageops::invert(&mut picture);
    picture
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use proptest::prelude::*;
    use ridegate_sim::picture::png;

    use super::*;

    fn drawn(payload: &[u8]) -> DynamicImage {
        image::load_from_memory(&png(payload).unwrap()).unwrap()
    }

    fn every_byte() -> Vec<u8> {
        (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect()
    }

    /// Each number the same every time, and none like the next.
    fn noise(x: u32, y: u32) -> u32 {
        let mut mixed = x.wrapping_mul(0x9E37_79B9) ^ y.wrapping_mul(0x85EB_CA6B);
        mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xC2B2_AE35);
        mixed ^ (mixed >> 13)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn payloads_survive_the_picture(payload in prop::collection::vec(any::<u8>(), 1..1200)) {
            prop_assert_eq!(codes(&drawn(&payload)).unwrap(), [payload]);
        }

        #[test]
        fn high_bytes_and_zeroes_survive_the_picture(
            payload in prop::collection::vec(prop_oneof![Just(0), 0x80..=0xff_u8], 1..600),
        ) {
            prop_assert_eq!(codes(&drawn(&payload)).unwrap(), [payload]);
        }

        /// What looks like digits or Kanji is bytes all the same.
        #[test]
        fn text_survives_the_picture(payload in "([0-9]{20}|[\u{4e00}-\u{4fff}]{5}|[A-Z :/]{8}){1,9}") {
            prop_assert_eq!(codes(&drawn(payload.as_bytes())).unwrap(), [payload.as_bytes()]);
        }

        #[test]
        fn no_picture_makes_it_panic(width in 1..90_u32, height in 1..90_u32, salt: u32) {
            let speckles = GrayImage::from_fn(width, height, |x, y| Luma([noise(x ^ salt, y).to_le_bytes()[0]]));
            prop_assert!(codes(&speckles.into()).is_err());
        }
    }

    #[test]
    fn codes_made_by_qrencode_are_read_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        for (level, payload) in
            [("L", every_byte()), ("M", vec![0]), ("Q", vec![0xff; 400]), ("H", b"0123".to_vec())]
        {
            let file = folder.path().join("code.png");
            let started = Command::new("qrencode")
                .args(["-8", "-l", level, "-o"])
                .arg(&file)
                .stdin(Stdio::piped())
                .spawn();
            let mut qrencode = started.expect("qrencode is not here: `make test` installs what tests need");
            qrencode.stdin.take().unwrap().write_all(&payload).unwrap();
            assert!(qrencode.wait().unwrap().success());
            assert_eq!(read(&file).unwrap(), [payload], "{level}");
        }
    }

    #[test]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "shades and sizes are small"
    )]
    fn photos_are_read() {
        let code: Vec<u8> = (0..=u8::MAX).collect();
        let picture = drawn(&code).to_luma8();
        let (width, height) = picture.dimensions();
        let turned: GrayImage = {
            // 17 degrees, on a grey table.
            let (sin, cos) = 17_f32.to_radians().sin_cos();
            let (middle, size) = (width / 2, width * 3 / 2);
            GrayImage::from_fn(size, size, |x, y| {
                let (x, y) = (x as f32 - size as f32 / 2.0, y as f32 - size as f32 / 2.0);
                let (x, y) = (x * cos + y * sin + middle as f32, y * cos - x * sin + middle as f32);
                imageops::sample_bilinear(&picture, x / width as f32, y / height as f32)
                    .unwrap_or(Luma([180]))
            })
        };
        let dim = |range: u32, floor: u32| {
            let mut picture = picture.clone();
            picture
                .pixels_mut()
                .for_each(|pixel| pixel.0[0] = (u32::from(pixel.0[0]) * range / 255 + floor) as u8);
            picture
        };
        let speckled = |strength: u32| {
            let mut picture = dim(120, 60);
            for (x, y, pixel) in picture.enumerate_pixels_mut() {
                pixel.0[0] =
                    (u32::from(pixel.0[0]) + noise(x, y) % strength).saturating_sub(strength / 2) as u8;
            }
            picture
        };
        let small = imageops::resize(&picture, width * 3 / 8, height * 3 / 8, FilterType::Triangle);
        let mut shadow = picture.clone();
        shadow
            .enumerate_pixels_mut()
            .for_each(|(x, _, pixel)| pixel.0[0] = (u32::from(pixel.0[0]) * (width - x / 2) / width) as u8);
        let photos = [
            ("turned", turned),
            ("on its side", imageops::rotate90(&picture)),
            ("mirrored", imageops::flip_horizontal(&picture)),
            ("weak", dim(25, 110)),
            ("dark", dim(40, 3)),
            ("speckled", speckled(90)),
            ("blurred", imageops::blur(&picture, 2.5)),
            ("small", small),
            ("in shadow", shadow),
            ("inverted", inverted(&picture)),
        ];
        let unread: Vec<_> = photos
            .into_iter()
            .filter(|(_, photo)| codes(&photo.clone().into()).ok() != Some(vec![code.clone()]))
            .map(|(how, _)| how)
            .collect();
        assert_eq!(unread, Vec::<&str>::new());
    }

    #[test]
    fn two_codes_in_a_picture_are_read_from_the_top_down() {
        let (first, second) = (drawn(b"first").to_luma8(), drawn(b"second").to_luma8());
        let mut both = GrayImage::from_pixel(600, 700, Luma([255]));
        imageops::replace(&mut both, &second, 20, 400);
        imageops::replace(&mut both, &first, 300, 20);
        assert_eq!(codes(&both.into()).unwrap(), [b"first".to_vec(), b"second".to_vec()]);
    }

    #[test]
    fn what_is_transparent_is_white() {
        let mut picture = drawn(b"on glass").to_luma_alpha8();
        picture.pixels_mut().filter(|pixel| pixel.0[0] > 0).for_each(|pixel| pixel.0 = [0, 0]);
        assert_eq!(codes(&picture.into()).unwrap(), [b"on glass"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |name: &str, content: &[u8]| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            format!("{:#}", read(&file).unwrap_err())
        };
        assert!(refusal("a.txt", b"hello").contains("a.txt: not a PNG or JPEG picture"));
        assert!(
            refusal("a.png", &png(b"cut short").unwrap()[..200]).contains("a.png: not a PNG or JPEG picture")
        );
        let missing = format!("{:#}", read(&folder.path().join("b.png")).unwrap_err());
        assert!(missing.contains("b.png: cannot be read"), "{missing}");

        let blank = GrayImage::from_pixel(300, 300, Luma([255]));
        assert_eq!(codes(&blank.into()).unwrap_err().to_string(), "no QR code found");
        let mut torn = drawn(&every_byte()).to_luma8();
        let (width, middle) = (torn.width(), GrayImage::from_pixel(400, 400, Luma([255])));
        imageops::replace(&mut torn, &middle, i64::from(width / 2 - 200), i64::from(width / 2 - 200));
        let torn = codes(&torn.into()).unwrap_err().to_string();
        assert!(torn.starts_with("there is a QR code, but it cannot be read"), "{torn}");
    }
}
