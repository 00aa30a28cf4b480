//! Codes that only their partner can read: phones that show them, and the partner's book, which reads them. Everything a
//! code says is in the code, under the partner's secret, so that nobody has to remember what was shown.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::{FUTURE_SKEW_S, Mark, Profile};
use sha2::Sha256;

/// Riders that a token has room for.
const RIDERS: u32 = 1100;
/// Seconds after which a token's time comes again.
const AGAIN: u32 = 3000;
/// A token's validity is so many seconds, or up to twenty times as many.
const UNIT: u16 = 60;
const UNITS: u16 = 20;
/// Digits for rider, time and validity: 1100 × 3000 × 20 is below 10⁸.
const BODY_DIGITS: usize = 8;
const TOKEN_DIGITS: usize = 19;

/// A partner's system: what it gives out, and what it knows again.
#[derive(Clone)]
pub struct Book {
    secret: [u8; 32],
    look: Look,
}

/// What its codes look like.
#[derive(Clone)]
enum Look {
    /// As cards whose numbers begin like this: in even seconds as EMV codes, in odd ones as tokens.
    Card {
        aid: String,
        iin: String,
    },
    Begins(Vec<u8>),
    Sized {
        length: usize,
        first: u8,
    },
}

/// What the gateway can tell of half a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// It is known what it should be, and whose.
    Malformed,
    /// It is known what it should be.
    MalformedOfNobody,
    /// The partner has not made it.
    Untrusted,
    /// It is nobody's.
    Unrecognized,
}

/// A phone of one of its riders.
#[derive(Clone)]
pub struct Phone {
    book: Book,
    rider: u32,
    validity: u16,
}

/// What a code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Whose it is.
    pub rider: u32,
    /// When it was made, Unix seconds.
    pub generated_at: u32,
    /// Seconds.
    pub validity: u16,
}

impl Book {
    /// The book of a partner with codes that only it can read; `None` for any other.
    pub fn of(profile: &Profile, rng: &mut ChaCha20Rng) -> Option<Self> {
        let card = || {
            let cpm = profile.emv_cpm.as_ref()?;
            Some(Look::Card { aid: cpm.aids.first()?.to_string(), iin: cpm.iins.first()?.to_string() })
        };
        let opaque = || match profile.opaque.first()?.mark() {
            Mark::Begins(bytes) => Some(Look::Begins(bytes.to_vec())),
            Mark::Sized { length, first } => Some(Look::Sized { length: *length, first: *first }),
        };
        let look = card().or_else(opaque)?;
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Some(Self { secret, look })
    }

    /// What the gateway says of half of this code.
    pub(crate) fn half(&self, code: &[u8]) -> Half {
        match self.look {
            // Whose a card is stands at its end, whose a token is at its beginning.
            Look::Card { .. } if code.iter().all(u8::is_ascii_digit) => Half::Malformed,
            Look::Card { .. } => Half::MalformedOfNobody,
            Look::Begins(_) => Half::Untrusted,
            Look::Sized { .. } => Half::Unrecognized,
        }
    }

    /// Lets a phone show this rider's codes. Refuses what they have no room for.
    pub fn authorise(&self, account: &str, validity: u16) -> Result<Phone> {
        let rider = rider_of(account).context("expected U and a number of 9 digits below 1100")?;
        let whole = validity.is_multiple_of(UNIT) && (1..=UNITS).contains(&(validity / UNIT));
        ensure!(
            whole,
            "expected a validity of whole minutes, 20 at the most: its codes have no room for others"
        );
        Ok(Phone { book: self.clone(), rider, validity })
    }

    /// What a code says, if this partner has made it, as known at `now`.
    pub fn read(&self, code: &[u8], now: u32) -> Option<Said> {
        match &self.look {
            Look::Card { iin, .. } if code.iter().all(u8::is_ascii_digit) => self.read_token(code, iin, now),
            Look::Card { .. } => self.read_card(code),
            Look::Begins(begins) => {
                self.read_sealed(&BASE64_URL_SAFE_NO_PAD.decode(code.strip_prefix(begins.as_slice())?).ok()?)
            }
            Look::Sized { length, .. } if code.len() == *length => self.read_sealed(code.get(1..=SEALED)?),
            Look::Sized { .. } => None,
        }
    }

    fn made(&self, said: Said) -> Result<Vec<u8>> {
        match &self.look {
            Look::Card { aid, iin } if said.generated_at.is_multiple_of(2) => self.card(said, aid, iin),
            Look::Card { iin, .. } => self.token(said, iin),
            Look::Begins(begins) => {
                let sealed = BASE64_URL_SAFE_NO_PAD.encode(self.sealed(said));
                Ok([begins.as_slice(), sealed.as_bytes()].concat())
            }
            Look::Sized { length, first } => {
                let mut code = vec![*first];
                code.extend(self.sealed(said));
                code.resize(*length, 0);
                Ok(code)
            }
        }
    }

    /// What a code says, and the partner's seal on it.
    fn sealed(&self, said: Said) -> Vec<u8> {
        let body = said.bytes();
        [body.as_slice(), &self.seal(&body)].concat()
    }

    fn read_sealed(&self, sealed: &[u8]) -> Option<Said> {
        let (body, seal) = sealed.split_first_chunk::<BODY>()?;
        (self.seal(body).as_slice() == seal).then(|| Said::read(body))?
    }

    fn seal(&self, body: &[u8]) -> [u8; 16] {
        let [seal @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = self.mac(body);
        seal
    }

    fn mac(&self, body: &[u8]) -> [u8; 32] {
        let mut block = [0; 64];
        let (front, _) = block.split_at_mut(self.secret.len());
        front.copy_from_slice(&self.secret);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(body);
        mac.finalize().into_bytes().into()
    }

    /// An EMV code: the number names the rider, the issuer's own data the time, the cryptogram is the seal.
    fn card(&self, said: Said, aid: &str, iin: &str) -> Result<Vec<u8>> {
        let number = format!("{iin}{:0width$}", said.rider, width = 16 - iin.len());
        let seal = self.seal(&said.bytes());
        let cryptogram = hex::encode(seal.get(..8).context("a seal")?);
        let data = hex::encode(said.bytes());
        let counter = format!("{:04x}", said.generated_at & 0xffff);
        let inner = object("9f26", &cryptogram) + &object("9f10", &data) + &object("9f36", &counter);
        let track2 = object("57", &format!("{number}d30122010000000f"));
        let template = object("4f", &format!("{aid}010101")) + &track2 + &object("63", &inner);
        let code = object("85", &hex::encode("CPV01")) + &object("61", &template);
        Ok(BASE64_STANDARD.encode(hex::decode(code)?).into_bytes())
    }

    fn read_card(&self, code: &[u8]) -> Option<Said> {
        let bytes = BASE64_STANDARD.decode(code).ok()?;
        let after = |tag: &[u8]| {
            let at = bytes.windows(tag.len()).position(|window| window == tag)?;
            bytes.get(at + tag.len()..)
        };
        let body = after(&[0x9f, 0x10, 10])?.first_chunk::<BODY>()?;
        let cryptogram = after(&[0x9f, 0x26, 8])?.get(..8)?;
        (self.seal(body).starts_with(cryptogram)).then(|| Said::read(body))?
    }

    /// Digits: the bank's, then rider, time and validity as one number, then as much of the seal as there is room for.
    fn token(&self, said: Said, iin: &str) -> Result<Vec<u8>> {
        let time = said.generated_at % AGAIN;
        let units = u32::from(said.validity / UNIT - 1);
        let body = format!("{:0BODY_DIGITS$}", (said.rider * AGAIN + time) * u32::from(UNITS) + units);
        let seal = self.digits(&said, TOKEN_DIGITS - iin.len() - body.len())?;
        Ok(format!("{iin}{body}{seal}").into_bytes())
    }

    fn read_token(&self, code: &[u8], iin: &str, now: u32) -> Option<Said> {
        let digits = std::str::from_utf8(code).ok()?.strip_prefix(iin)?;
        let (body, seal) = digits.split_at_checked(BODY_DIGITS)?;
        let body: u32 = body.parse().ok()?;
        let (units, time, rider) =
            (body % u32::from(UNITS), body / u32::from(UNITS) % AGAIN, body / u32::from(UNITS) / AGAIN);
        // The last second with this time that is not in the future.
        let last = now + FUTURE_SKEW_S;
        let generated_at = last - (last % AGAIN + AGAIN - time) % AGAIN;
        let said = Said { rider, generated_at, validity: (u16::try_from(units).ok()? + 1) * UNIT };
        (self.digits(&said, seal.len()).ok()? == seal && code.len() == TOKEN_DIGITS).then_some(said)
    }

    fn digits(&self, said: &Said, count: usize) -> Result<String> {
        let (front, _) = self
            .mac(&said.bytes())
            .split_first_chunk()
            .map(|(front, rest)| (*front, rest.len()))
            .context("a seal")?;
        let number = u64::from_be_bytes(front) % 10_u64.pow(u32::try_from(count)?);
        Ok(format!("{number:0count$}"))
    }
}

/// Bytes of what a code says, and of that with its seal.
const BODY: usize = 10;
const SEALED: usize = BODY + 16;

impl Said {
    fn bytes(self) -> [u8; BODY] {
        let mut bytes = [0; BODY];
        let parts = self.rider.to_be_bytes().into_iter().chain(self.generated_at.to_be_bytes());
        let parts = parts.chain(self.validity.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        bytes
    }

    fn read(bytes: &[u8; BODY]) -> Option<Self> {
        let number = |range: Range<usize>| Some(u32::from_be_bytes(*bytes.get(range)?.first_chunk()?));
        let validity = u16::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        Some(Self { rider: number(0..4)?, generated_at: number(4..8)?, validity })
    }

    /// What the partner calls the rider.
    pub fn account(self) -> String {
        account(self.rider)
    }
}

/// What partners call the rider of this number.
pub fn account(rider: u32) -> String {
    format!("U{rider:09}")
}

/// The rider whom partners call so.
pub fn rider_of(account: &str) -> Option<u32> {
    let digits = account.strip_prefix('U').filter(|digits| digits.len() == 9)?;
    let rider = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())??;
    (rider < RIDERS).then_some(rider)
}

impl Phone {
    /// A code of this second.
    pub fn code(&self, generated_at: u32) -> Result<Vec<u8>> {
        self.book.made(self.said(generated_at))
    }

    /// A code that the partner has not made: its seal is another's.
    pub fn forged(&self, generated_at: u32) -> Result<Vec<u8>> {
        let mut other = self.book.clone();
        other.secret.reverse();
        let (mut forged, genuine) = (other.made(self.said(generated_at))?, self.code(generated_at)?);
        // Of a token's few digits it might be the same by chance.
        if forged == genuine
            && let Some(last) = forged.last_mut()
        {
            *last = if *last == b'0' { b'1' } else { b'0' };
        }
        Ok(forged)
    }

    const fn said(&self, generated_at: u32) -> Said {
        Said { rider: self.rider, generated_at, validity: self.validity }
    }
}

/// An object of BER-TLV, in hexadecimal.
fn object(tag: &str, value: &str) -> String {
    format!("{tag}{:02x}{value}", value.len() / 2)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use ridegate_adapters::{NoMemory, Opened, Partners, UnixSeconds};

    use super::*;

    const NOW: u32 = 1_655_265_600;

    fn books(seed: u64) -> Vec<(String, Book)> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let profiles = Profile::shipped().unwrap();
        profiles.iter().filter_map(|one| Some((one.id.to_string(), Book::of(one, &mut rng)?))).collect()
    }

    #[test]
    fn every_code_is_its_partners_and_is_read_again() {
        let partners = Partners::shipped().unwrap();
        let mut formats = std::collections::HashSet::new();
        let books = books(1);
        assert_eq!(books.len(), 4);
        for (id, book) in books {
            for (second, validity) in [(NOW, 60), (NOW - 1, 60), (NOW - 1190, 1200), (NOW + 19, 1200)] {
                let code = book.authorise("U000001035", validity).unwrap().code(second).unwrap();
                let scanned = partners.recognise(&code).unwrap();
                formats.insert(scanned.format());
                assert_eq!(scanned.partner().unwrap().id.as_str(), id);
                let opened = scanned.open(UnixSeconds(NOW.into()), &NoMemory).unwrap();
                assert!(matches!(opened, Opened::Online(_)));
                let said = book.read(&code, NOW).unwrap();
                assert_eq!(said, Said { rider: 1035, generated_at: second, validity }, "{id}");
                assert_eq!(said.account(), "U000001035");
            }
        }
        assert_eq!(formats.len(), 3);
    }

    #[test]
    fn what_somebody_else_made_or_changed_is_not_read() {
        for ((id, book), (_, other)) in books(1).into_iter().zip(books(2)) {
            let phone = book.authorise("U000000007", 60).unwrap();
            for second in [NOW, NOW - 1] {
                let code = phone.code(second).unwrap();
                assert_eq!(other.read(&code, NOW), None, "{id}");
                assert_eq!(book.read(&phone.forged(second).unwrap(), NOW), None, "{id}");
                let half = &code[..code.len() / 2];
                assert_eq!(book.read(half, NOW), None, "{id}");
            }
        }
    }

    #[test]
    fn riders_and_times_that_codes_have_no_room_for_are_refused() {
        let (_, book) = books(1).remove(0);
        for (account, validity) in [
            ("U000001100", 60),
            ("U00000001", 60),
            ("000000001", 60),
            ("U00000000x", 60),
            ("U000000001", 61),
            ("U000000001", 0),
            ("U000000001", 1260),
        ] {
            assert!(book.authorise(account, validity).is_err(), "{account} {validity}");
        }
        assert!(book.authorise("U000001099", 1200).is_ok());
    }
}
