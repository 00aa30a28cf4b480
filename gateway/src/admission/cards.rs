//! Cards: their numbers could be guessed, so a reader may only tap so many a second, and who taps many different ones is
//! told of (D14).
//!
//! Nothing here is kept longer than it is needed: readers and cards are keyed tags of eight bytes, a reader that has been
//! idle for a while is forgotten, and the cards it tapped as soon as its window is over.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::DefaultDirectRateLimiter;
use tokio::time::{Instant, sleep};

use super::{
    rate::Rate,
    tap::{Card, Device},
};
use crate::{
    keyring::{Keyring, Use},
    metrics::Metrics,
};

/// Gates of one validator that are told apart; the rest of them are taken for one, so that naming ever new gates gets
/// nobody ever new budgets.
const GATES: usize = 256;
/// Readers that are told apart in all: 60,000 buses and every gate of the metro's, four times over. When there are as many,
/// further gates are taken for one too, and a validator that nobody has seen yet has to wait.
const READERS: usize = 300_000;

/// A card whose reader had taps left: the proof that it may be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Tapped<'a>(&'a Card);

impl Tapped<'_> {
    /// The card.
    pub const fn card(&self) -> &Card {
        self.0
    }
}

/// How many cards a reader may tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardLimits {
    /// Taps of cards, by one reader.
    pub taps: Rate,
    /// So many different cards of one reader are worth an alarm …
    pub many: usize,
    /// … within so long.
    pub window: Duration,
}

/// Counts the cards that readers tap.
pub struct CardTaps {
    limits: CardLimits,
    readers: Mutex<Readers>,
    keys: Arc<Keyring>,
    metrics: Arc<Metrics>,
}

/// A reader or a card, by a keyed name: from outside it tells nothing.
type Tag = u64;

/// Every reader that has tapped of late.
#[derive(Default)]
struct Readers {
    /// By validator and gate.
    gates: HashMap<Tag, HashMap<Tag, Reader>>,
    count: usize,
}

/// All gates of a validator that has too many. No tag is worth the trouble of being this one.
const REST: Tag = 0;

/// One reader.
struct Reader {
    taps: DefaultDirectRateLimiter,
    last: Instant,
    window: Window,
}

/// The different cards that a reader has tapped since then.
struct Window {
    began: Instant,
    cards: Vec<Tag>,
    /// There were many, and it was told; then they are of no more use.
    told: bool,
}

impl CardTaps {
    /// Nobody has tapped yet.
    pub fn new(limits: CardLimits, keys: Arc<Keyring>, metrics: Arc<Metrics>) -> Self {
        Self { limits, readers: Mutex::default(), keys, metrics }
    }

    /// A reader taps a card; `None` if it has tapped too many of late. Also such taps count towards the alarm.
    pub fn tap<'a>(&self, card: &'a Card, device: &Device) -> Option<Tapped<'a>> {
        let [operator, validator, gate] = device.parts();
        let (of, gate) = (self.tag(&[operator, validator]), self.tag(&[operator, validator, gate]));
        let now = Instant::now();
        let (admitted, alarm) = {
            let mut readers = self.lock();
            let reader = readers.get(of, gate, || Reader::new(self.limits.taps, now))?;
            reader.last = now;
            let alarm = reader.window.sees(now, &self.limits, || self.tag_of(card));
            (reader.taps.check().is_ok(), alarm)
        };
        if alarm {
            self.metrics.many_cards();
            // The gate's name is the caller's choice, the validator's is in its certificate.
            let (operator, device) = (&*device.validator.operator, &*device.validator.device);
            tracing::warn!(operator, device, "a reader taps many different cards: is somebody guessing?");
        }
        admitted.then_some(Tapped(card))
    }

    /// Forgets, again and again, whatever has served its time.
    pub async fn forget(self: Arc<Self>) {
        loop {
            sleep(self.limits.window / 4).await;
            self.sweep(Instant::now());
        }
    }

    /// Cards whose window is over; readers that have been idle for so long that they might as well be new.
    fn sweep(&self, now: Instant) {
        let Rate { per_second, burst } = self.limits.taps;
        let refilled = Duration::from_secs(u64::from(burst.get().div_ceil(per_second.get())));
        let idle = refilled.max(self.limits.window);
        let mut readers = self.lock();
        let Readers { gates, count } = &mut *readers;
        gates.retain(|_, gates| {
            gates.retain(|_, reader| {
                reader.window.end(now, self.limits.window);
                now.duration_since(reader.last) < idle
            });
            !gates.is_empty()
        });
        *count = gates.values().map(HashMap::len).sum();
    }

    fn tag_of(&self, card: &Card) -> Tag {
        let Card { kind, issuer, number } = card;
        self.tag(&[b"card", kind.name().as_bytes(), issuer.as_bytes(), number.expose().as_bytes()])
    }

    fn tag(&self, parts: &[&[u8]]) -> Tag {
        let name = self.keys.pseudonym(Use::Claim, parts).0;
        name.first_chunk().copied().map_or(REST, Tag::from_be_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    /// What is known of a gate of this validator; `None` if there are too many readers to know another.
    fn get(&mut self, validator: Tag, gate: Tag, new: impl FnOnce() -> Reader) -> Option<&mut Reader> {
        let is_full = self.count >= READERS;
        if is_full && !self.gates.contains_key(&validator) {
            return None;
        }
        let gates = self.gates.entry(validator).or_default();
        let is_one_too_many = (is_full || gates.len() >= GATES) && !gates.contains_key(&gate);
        let gate = if is_one_too_many { REST } else { gate };
        Some(gates.entry(gate).or_insert_with(|| {
            self.count += 1;
            new()
        }))
    }
}

impl Reader {
    fn new(taps: Rate, now: Instant) -> Self {
        let window = Window { began: now, cards: Vec::new(), told: false };
        Self { taps: taps.limiter(), last: now, window }
    }
}

impl Window {
    /// Another tap; tells whether these are many now, once a window.
    fn sees(&mut self, now: Instant, limits: &CardLimits, card: impl FnOnce() -> Tag) -> bool {
        if self.end(now, limits.window) {
            self.began = now;
        }
        if self.told {
            return false;
        }
        let card = card();
        if !self.cards.contains(&card) {
            self.cards.push(card);
        }
        self.told = self.cards.len() >= limits.many;
        if self.told {
            self.cards = Vec::new();
        }
        self.told
    }

    /// Forgets what it has seen, if its time is over.
    fn end(&mut self, now: Instant, length: Duration) -> bool {
        let over = now.duration_since(self.began) >= length;
        if over {
            (self.cards, self.told) = (Vec::new(), false);
        }
        over
    }
}

/// How many readers, and nothing of them.
impl fmt::Debug for CardTaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardTaps({})", self.lock().count)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::time::advance;

    use ridegate_adapters::{Account, CardKind};

    use super::*;
    use crate::admission::identity;

    const SECOND: Duration = Duration::from_secs(1);

    fn taps(burst: u32, many: usize) -> CardTaps {
        let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(burst).unwrap() };
        let limits = CardLimits { taps: rate, many, window: 60 * SECOND };
        CardTaps::new(limits, Arc::new(Keyring::new(&[1; 32])), Arc::default())
    }

    fn device(validator: &str, gate: &str) -> Device {
        let validator = identity::Validator { operator: "bjsubway".into(), device: validator.into() };
        Device { validator, gate: gate.into() }
    }

    fn card(number: u32) -> Card {
        let number = Account::new(format!("{number:016}"));
        Card { kind: CardKind::YikatongCard, issuer: "01001000".parse().unwrap(), number }
    }

    fn alarms(taps: &CardTaps) -> String {
        let text = taps.metrics.encode();
        let line = text.lines().find(|line| line.starts_with("ridegate_many_cards_alarms_total"));
        line.unwrap().split(' ').next_back().unwrap().to_owned()
    }

    /// Cards of which something is held.
    fn held(taps: &CardTaps) -> usize {
        taps.lock().gates.values().flat_map(HashMap::values).map(|reader| reader.window.cards.len()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn each_reader_has_taps_of_its_own() {
        let taps = taps(3, 90);
        let left = |device: &Device| (0..5).filter(|_| taps.tap(&card(1), device).is_some()).count();
        assert_eq!(left(&device("a", "1")), 3);
        for other in [device("a", "2"), device("a", ""), device("b", "1")] {
            assert_eq!(left(&other), 3, "{other:?}");
        }
        assert_eq!(left(&device("a", "1")), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_different_cards_are_told_of_once_a_window() {
        let taps = taps(1000, 4);
        let tap = |number| assert!(taps.tap(&card(number), &device("a", "")).is_some());
        for number in [1, 2, 3, 1, 2, 3, 3, 3] {
            tap(number);
        }
        assert_eq!(alarms(&taps), "0", "the same three, however often");
        advance(59 * SECOND).await;
        tap(4);
        assert_eq!((alarms(&taps).as_str(), held(&taps)), ("1", 0), "what was told of is of no more use");
        (5..50).for_each(tap);
        assert_eq!(alarms(&taps), "1");
        advance(SECOND).await;
        (1..4).for_each(tap);
        assert_eq!((alarms(&taps).as_str(), held(&taps)), ("1", 3), "another window has begun");
        tap(4);
        assert_eq!(alarms(&taps), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_is_over_after_its_time_and_each_reader_has_its_own() {
        let taps = taps(1000, 4);
        for number in 1..4 {
            assert!(taps.tap(&card(number), &device("a", "")).is_some());
            assert!(taps.tap(&card(number + 10), &device("a", "2")).is_some());
        }
        advance(60 * SECOND).await;
        assert!(taps.tap(&card(4), &device("a", "")).is_some());
        assert_eq!(alarms(&taps), "0");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_throttled_is_told_of_too() {
        let taps = taps(1, 10);
        let admitted = (0..10).filter(|number| taps.tap(&card(*number), &device("a", "")).is_some()).count();
        assert_eq!((admitted, alarms(&taps).as_str()), (1, "1"));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_has_served_its_time_is_forgotten() {
        let taps = Arc::new(taps(1000, 90));
        for gate in 0..10 {
            assert!(taps.tap(&card(gate), &device("a", &gate.to_string())).is_some());
        }
        assert_eq!(held(&taps), 10);
        let forgetting = tokio::spawn(Arc::clone(&taps).forget());
        advance(SECOND).await;
        tokio::time::sleep(61 * SECOND).await;
        assert_eq!(held(&taps), 0, "the cards as soon as their window is over");
        assert_eq!(taps.lock().count, 10, "the readers not before their taps are full again");
        tokio::time::sleep(1000 * SECOND).await;
        assert_eq!(taps.lock().count, 0);
        assert!(taps.lock().gates.is_empty());
        forgetting.abort();
    }

    #[test]
    fn when_there_are_too_many_readers_those_known_go_on() {
        let new = || Reader::new(taps(1, 1).limits.taps, Instant::now());
        let mut readers = Readers { count: READERS - 1, ..Readers::default() };
        assert!(readers.get(1, 1, new).is_some());
        assert!(readers.get(2, 1, new).is_none(), "one that nobody has seen has to wait");
        assert!(readers.get(1, 1, new).is_some());
        assert!(readers.get(1, 2, new).is_some() && readers.get(1, 3, new).is_some());
        assert_eq!(readers.gates[&1].keys().filter(|gate| **gate != 1).collect::<Vec<_>>(), [&REST]);
    }

    /// Naming ever new gates would else give one validator as many taps as it likes.
    #[tokio::test(start_paused = true)]
    async fn ever_new_gates_are_taken_for_one() {
        let taps = taps(3, 20);
        let tap = |number| taps.tap(&card(number), &device("a", &format!("gate-{number}"))).is_some();
        let gates = u32::try_from(GATES).unwrap();
        assert!((0..gates).all(tap));
        assert_eq!((gates..gates + 100).filter(|number| tap(*number)).count(), 3);
        assert_eq!(alarms(&taps), "1");
        assert_eq!(taps.lock().count, GATES + 1);
        assert!(tap(0), "those known before are as they were");
        assert!(taps.tap(&card(1), &device("b", "gate-1000")).is_some(), "and other validators");
    }
}
