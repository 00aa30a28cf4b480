//! The file of a card company: a header, then one card a line. Read as a stream, as often as it takes, and never held as
//! a whole. What is wrong with a line is said without any of its content.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use ridegate_proto::partner::v1::{BatchRow, Medium, MediumKind};
use sha2::{Digest, Sha256};

use super::{columns::Columns, fault::Fault};
use crate::Stop;

/// Bytes of a line. Four fields, of which the longest has 256 characters, are far below.
const MAX_LINE: usize = 4096;
/// Fields of a line that are told apart; a line with as many has too many.
const MAX_FIELDS: usize = 16;
/// As the file calls them.
const KINDS: [(&str, MediumKind); 3] = [
    ("senior-card", MediumKind::SeniorCard),
    ("civil-affairs-card", MediumKind::CivilAffairsCard),
    ("disability-service-card", MediumKind::DisabilityServiceCard),
];

/// A file that can be used: it was read once from end to end.
#[derive(Clone)]
pub(super) struct Cards {
    path: PathBuf,
    columns: Columns,
    version: Version,
    /// Cards that can be sent: the rows of the batch.
    pub(super) rows: u64,
    /// Lines that cannot.
    pub(super) unusable: u64,
    /// SHA-256 of all of its bytes.
    pub(super) digest: [u8; 32],
}

/// A line below the header that is not empty.
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: u64,
    pub(super) card: Result<Card, Fault>,
}

/// A card that can be sent.
pub(super) struct Card {
    /// How many rows of the batch come before it: the same whenever the file is read.
    pub(super) position: u64,
    pub(super) row: BatchRow,
}

impl Card {
    /// Its kind as the file calls it.
    pub(super) fn kind(&self) -> &'static str {
        let kind = self.row.medium.as_ref().map(Medium::kind);
        KINDS.into_iter().find_map(|(name, of)| (Some(of) == kind).then_some(name)).unwrap_or_default()
    }
}

/// By what a file is known to be the one that was read before.
#[derive(Clone, PartialEq, Eq)]
struct Version {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Cards {
    /// Reads the file. Refuses what is no file, has no header that can be used, or no line below it.
    pub(super) fn look(path: &Path) -> Result<Self, Stop> {
        let shown = path.display();
        let unreadable = |error: io::Error| Stop::usage(format!("{shown}: cannot be read: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Stop::usage(format!("{shown}: not a file: it is read more than once")));
        }
        let mut lines = RawLines::new(file);
        let columns = match lines.next().map_err(unreadable)? {
            None => Err("the file is empty".to_owned()),
            Some(line) => Columns::read(line),
        };
        let columns = columns.map_err(|why| Stop::usage(format!("{shown}:1: {why}")))?;
        let mut cards = CardLines { lines, columns, reader: reader(), position: 0 };
        let mut unusable = 0;
        while let Some(line) = cards.next().map_err(unreadable)? {
            unusable += u64::from(line.card.is_err());
        }
        let (rows, digest) = (cards.position, cards.lines.bytes.into_inner().seen.finalize().into());
        if rows + unusable == 0 {
            return Err(Stop::usage(format!("{shown}: there is no card below the header")));
        }
        let path = path.to_owned();
        Ok(Self { path, columns, version: Version::of(&metadata), rows, unusable, digest })
    }

    /// Reads it again. Refuses a file that is not the same any more.
    pub(super) fn lines(&self) -> io::Result<CardLines> {
        let file = File::open(&self.path)?;
        self.must_be(&file)?;
        let mut lines = RawLines::new(file);
        lines.next()?;
        Ok(CardLines { lines, columns: self.columns, reader: reader(), position: 0 })
    }

    /// Refuses if the file was changed since it was first read: positions would mean other cards.
    pub(super) fn must_be_same(&self, lines: &CardLines) -> io::Result<()> {
        self.must_be(&lines.lines.bytes.get_ref().file)
    }

    fn must_be(&self, file: &File) -> io::Result<()> {
        if Version::of(&file.metadata()?) == self.version {
            return Ok(());
        }
        Err(io::Error::other("it was changed while it was being sent"))
    }

    /// As the person knows it who named it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// The lines below the header.
pub(super) struct CardLines {
    lines: RawLines,
    columns: Columns,
    reader: Reader,
    position: u64,
}

impl CardLines {
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(line) = self.lines.next()? {
            if line == Ok(&[][..]) {
                continue;
            }
            let row = line.and_then(|line| row(&mut self.reader, self.columns, line));
            let card = row.map(|row| Card { position: self.position, row });
            self.position += u64::from(card.is_ok());
            return Ok(Some(Line { number: self.lines.number, card }));
        }
        Ok(None)
    }
}

/// One line is one record: a line break in quotes would hide where a row ends from who looks at the file.
fn reader() -> Reader {
    ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build()
}

fn row(reader: &mut Reader, columns: Columns, line: &[u8]) -> Result<BatchRow, Fault> {
    let mut ended = [line, b"\n"].concat();
    let (mut text, mut ends) = (vec![0; ended.len()], [0; MAX_FIELDS]);
    reader.reset();
    let (result, _, _, fields) = reader.read_record(&ended, &mut text, &mut ends);
    ended.clear();
    match result {
        ReadRecordResult::Record => {}
        ReadRecordResult::OutputEndsFull => return Err(Fault::Fields),
        _ => return Err(Fault::Quote),
    }
    let mut begin = 0;
    let ends = ends.iter().take(fields);
    let fields = ends.map(|end| text.get(std::mem::replace(&mut begin, *end)..*end));
    let fields = fields.collect::<Option<Vec<_>>>().ok_or(Fault::Fields)?;
    let [kind, issuer, number, authorization_code] = columns.of(&fields).ok_or(Fault::Fields)?;
    let text = |field: &[u8]| str::from_utf8(field).map(ToOwned::to_owned).map_err(|_| Fault::NotUtf8);
    let medium = Medium { kind: kind_of(kind)?.into(), issuer: text(issuer)?, account: text(number)? };
    Ok(BatchRow { medium: Some(medium), authorization_code: text(authorization_code)? })
}

fn kind_of(field: &[u8]) -> Result<MediumKind, Fault> {
    let field = str::from_utf8(field).map_err(|_| Fault::NotUtf8)?;
    KINDS.into_iter().find_map(|(name, kind)| (name == field).then_some(kind)).ok_or(Fault::Kind)
}

/// Lines without their ends, each of bounded length.
struct RawLines {
    bytes: BufReader<Hashed>,
    line: Vec<u8>,
    /// Of the last line, from 1.
    number: u64,
}

impl RawLines {
    fn new(file: File) -> Self {
        let bytes = BufReader::with_capacity(1 << 16, Hashed { file, seen: Sha256::new() });
        Self { bytes, line: Vec::new(), number: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Result<&[u8], Fault>>> {
        self.line.clear();
        let most = u64::try_from(MAX_LINE + 2).unwrap_or(u64::MAX);
        if (&mut self.bytes).take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
        } else if self.line.len() > MAX_LINE {
            self.bytes.skip_until(b'\n')?;
        }
        Ok(Some(if self.line.len() > MAX_LINE { Err(Fault::TooLong) } else { Ok(&self.line) }))
    }
}

/// A file, and the hash of what was read of it.
struct Hashed {
    file: File,
    seen: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.seen.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
