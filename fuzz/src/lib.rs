//! What must hold for any bytes, whatever a fuzzer makes of them.

use std::sync::LazyLock;

use ridegate_adapters::{CodeError, NoMemory, Opened, Partners, UnixSeconds};

/// When the codes of the corpus were made.
const NOW: UnixSeconds = UnixSeconds(1_655_265_600);

static PARTNERS: LazyLock<Partners> = LazyLock::new(|| Partners::shipped().expect("what ships loads"));

fn open(payload: &[u8]) -> Result<Opened, CodeError> {
    PARTNERS.recognise(payload)?.open(NOW, &NoMemory)
}

/// Bytes of one format: the same answer twice, fields that are shown without panic, and no code that is genuine with a
/// byte less, a byte more or another last byte too. Bytes of other formats are other targets'.
pub fn code(format: &str, payload: &[u8]) {
    let Ok(scanned) = PARTNERS.recognise(payload) else { return };
    if scanned.format() != format {
        return;
    }
    scanned.fields();
    let opened = open(payload);
    assert_eq!(opened, open(payload));
    if matches!(opened, Ok(Opened::Checked(_))) {
        let (last, before) = payload.split_last().expect("nothing is no code");
        for other in [before.to_vec(), [payload, &[0]].concat(), [before, &[last ^ 1]].concat()] {
            assert!(!matches!(open(&other), Ok(Opened::Checked(_))), "genuine, and so is its neighbour");
        }
    }
}
