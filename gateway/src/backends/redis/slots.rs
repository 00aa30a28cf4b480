//! The slots of a cluster, and who has them.

use std::{collections::HashMap, sync::Arc};

use redis::Value;

use super::{line::Line, place::Address};

const SLOTS: u16 = 16_384;
/// So many keys are tried for one in a node's slots.
const TRIES: u32 = 200_000;

/// Slots in a row that are with one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    first: u16,
    last: u16,
    master: Address,
}

impl Range {
    /// Reads what `CLUSTER SLOTS` says: from, to, the master, its replicas.
    pub(super) fn read(answer: Value, teller: &Address) -> Option<Vec<Self>> {
        let Value::Array(rows) = answer else { return None };
        let mut ranges = rows.into_iter().map(|row| Self::row(row, teller)).collect::<Option<Vec<_>>>()?;
        ranges.sort_by_key(|range| range.first);
        Some(ranges)
    }

    fn row(row: Value, teller: &Address) -> Option<Self> {
        let Value::Array(row) = row else { return None };
        let mut row = row.into_iter();
        let mut slot = || redis::from_redis_value(row.next()?).ok().filter(|slot| *slot < SLOTS);
        let (first, last) = (slot()?, slot()?);
        let Value::Array(master) = row.next()? else { return None };
        let mut master = master.into_iter();
        let host: Option<String> = redis::from_redis_value(master.next()?).ok()?;
        let port = redis::from_redis_value(master.next()?).ok()?;
        let master = Address::new(host.unwrap_or_default(), port).told_by(teller);
        Some(Self { first, last, master })
    }

    const fn has(&self, slot: u16) -> bool {
        self.first <= slot && slot <= self.last
    }
}

/// A node that has slots.
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) line: Arc<Line>,
    /// A key in one of its slots, if one was found.
    pub(super) probe: Option<String>,
}

/// Who has which slot.
#[derive(Default)]
pub(super) struct Map {
    ranges: Vec<Range>,
    nodes: Vec<Node>,
    by_address: HashMap<Address, usize>,
}

impl Map {
    /// With the lines that there were before.
    pub(super) fn new(ranges: &[Range], before: &Self) -> Self {
        let mut map = Self { ranges: ranges.to_vec(), ..Self::default() };
        for Range { master, .. } in ranges {
            if !map.by_address.contains_key(master) {
                map.by_address.insert(master.clone(), map.nodes.len());
                let line = before.node_at(master).map(|node| Arc::clone(&node.line)).unwrap_or_default();
                map.nodes.push(Node { address: master.clone(), line, probe: None });
            }
        }
        let mut wanted = map.nodes.len();
        for number in 0..TRIES {
            if wanted == 0 {
                break;
            }
            let key = format!("rg1:{{{number}}}:probe");
            let place = map.place_of(key.as_bytes());
            if let Some(node) =
                place.and_then(|place| map.nodes.get_mut(place)).filter(|node| node.probe.is_none())
            {
                node.probe = Some(key);
                wanted -= 1;
            }
        }
        map
    }

    pub(super) fn is_of(&self, ranges: &[Range]) -> bool {
        self.ranges == ranges
    }

    /// Every slot is with somebody.
    pub(super) fn is_complete(&self) -> bool {
        let next =
            self.ranges.iter().try_fold(0, |next, range| (range.first == next).then_some(range.last + 1));
        next == Some(SLOTS)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Who has the slot of this key.
    pub(super) fn node_of(&self, key: &[u8]) -> Option<&Node> {
        self.nodes.get(self.place_of(key)?)
    }

    pub(super) fn node_at(&self, address: &Address) -> Option<&Node> {
        self.nodes.get(*self.by_address.get(address)?)
    }

    fn place_of(&self, key: &[u8]) -> Option<usize> {
        let slot = slot(key);
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = self.ranges.get(after.checked_sub(1)?).filter(|range| range.has(slot))?;
        self.by_address.get(&range.master).copied()
    }
}

/// Of a key: of what stands between its first braces, if anything does.
fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let after = key.get(key.iter().position(|byte| *byte == b'{')? + 1..)?;
        let tag = after.get(..after.iter().position(|byte| *byte == b'}')?)?;
        (!tag.is_empty()).then_some(tag)
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, port: u16) -> Range {
        Range { first, last, master: Address::new("h", port) }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"123456789"), 12_739);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"rg1:{foo}:c:1"), slot(b"foo"));
        assert_eq!(slot(b"a{}{foo}"), crc16(b"a{}{foo}") % SLOTS);
        assert_eq!(slot(b"a{foo"), crc16(b"a{foo") % SLOTS);
        assert_eq!(slot(b"a{{foo}}"), slot(b"{foo"));
    }

    #[test]
    fn a_key_goes_to_who_has_its_slot_and_every_node_can_be_probed() {
        let ranges = [range(0, 12_181, 1), range(12_182, 12_182, 2), range(12_183, 16_383, 1)];
        let map = Map::new(&ranges, &Map::default());
        assert!(map.is_complete() && map.is_of(&ranges) && !map.is_of(&ranges[1..]));
        assert_eq!(map.nodes().len(), 2);
        assert_eq!(map.node_of(b"foo").unwrap().address, Address::new("h", 2));
        for node in map.nodes() {
            let probe = node.probe.as_ref().unwrap();
            assert_eq!(map.node_of(probe.as_bytes()).unwrap().address, node.address);
        }
        let again = Map::new(&ranges[..1], &map);
        assert!(!again.is_complete() && again.node_of(b"foo").is_none());
        assert!(Arc::ptr_eq(&again.nodes()[0].line, &map.nodes()[0].line), "a line outlives the map");
    }

    #[test]
    fn what_a_node_says_of_slots_is_read() {
        let node = |host: Value| Value::Array(vec![host, Value::Int(7), Value::Nil]);
        let row = |host| Value::Array(vec![Value::Int(0), Value::Int(9), node(host)]);
        let teller = Address::new("teller", 1);
        let read = |host| Range::read(Value::Array(vec![row(host)]), &teller);
        let at = |host: &str| Some(vec![Range { first: 0, last: 9, master: Address::new(host, 7) }]);
        assert_eq!(read(Value::BulkString(b"10.0.0.1".to_vec())), at("10.0.0.1"));
        for unknown in [Value::Nil, Value::BulkString(vec![]), Value::BulkString(b"?".to_vec())] {
            assert_eq!(read(unknown), at("teller"), "as it was reached itself");
        }
        let beyond = Value::Array(vec![Value::Int(0), Value::Int(16_384), node(Value::Nil)]);
        assert_eq!(Range::read(Value::Array(vec![beyond]), &teller), None);
        assert_eq!(Range::read(Value::Okay, &teller), None);
    }
}
