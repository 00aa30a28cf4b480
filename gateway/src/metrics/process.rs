//! What the process itself uses, under the names that every client of Prometheus has for it.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Looks when it is scraped. Where the system does not tell there are no such metrics.
#[derive(Debug)]
pub(super) struct Process;

struct Used {
    cpu_seconds: f64,
    resident_bytes: u64,
    threads: i64,
    open: usize,
    /// Descriptors that may be open.
    room: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(used) = used() else { return Ok(()) };
        let mut put = |name, help, unit, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let cpu = ConstCounter::new(used.cpu_seconds);
        put("process_cpu", "CPU of all threads, in user and system mode", Some(&Unit::Seconds), &cpu)?;
        put("process_resident_memory", "Memory in use", Some(&Unit::Bytes), &gauge(used.resident_bytes))?;
        put("process_threads", "Threads", None, &ConstGauge::new(used.threads))?;
        put("process_open_fds", "File descriptors in use", None, &gauge(used.open))?;
        put("process_max_fds", "File descriptors that may be in use", None, &gauge(used.room))
    }
}

fn gauge(number: impl TryInto<i64>) -> ConstGauge<i64> {
    ConstGauge::new(number.try_into().unwrap_or(i64::MAX))
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "ticks of the CPU stay below 2^52")]
fn used() -> Option<Used> {
    use procfs::process::{LimitValue, Process};

    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let room = process.limits().ok()?.max_open_files.soft_limit;
    Some(Used {
        cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        resident_bytes: stat.rss * procfs::page_size(),
        threads: stat.num_threads,
        open: process.fd_count().ok()?,
        room: match room {
            LimitValue::Value(room) => room,
            LimitValue::Unlimited => u64::MAX,
        },
    })
}

#[cfg(not(target_os = "linux"))]
const fn used() -> Option<Used> {
    None
}
