//! A day of leases: load that rises and falls, replicas that come and go, a Redis that cannot be reached for parts of it.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    tests::{Bank, rate},
    *,
};

/// So far apart are the moments that are looked at.
const STEP: Duration = Duration::from_millis(250);

struct Replica {
    id: usize,
    lease: Lease,
    next: Instant,
    on_its_way: Option<(Ask, Answer)>,
}

/// What was admitted beyond what came in, since it was least.
struct Law {
    per_second: f64,
    admitted: u64,
    began: Instant,
    least: f64,
    most: f64,
}

impl Law {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn beyond(&self, now: Instant) -> f64 {
        self.admitted as f64 - self.per_second * now.duration_since(self.began).as_secs_f64()
    }

    /// From here on what is admitted counts from before it.
    fn before(&mut self, now: Instant) {
        self.least = self.least.min(self.beyond(now));
    }

    fn after(&mut self, now: Instant) {
        self.most = self.most.max(self.beyond(now) - self.least);
    }
}

fn day(per_second: u32, burst: u32, seed: u64) -> (Law, u64) {
    let (rate, began, mut chance) = (rate(per_second, burst), Instant::now(), StdRng::seed_from_u64(seed));
    let replica = |id, now| Replica { id, lease: Lease::new(rate, now), next: now, on_its_way: None };
    let mut bank = Bank::new(began);
    let mut replicas: Vec<_> = (0..4).map(|id| replica(id, began)).collect();
    let per_second = f64::from(per_second);
    let mut law = Law { per_second, admitted: 0, began, least: 0.0, most: 0.0 };
    let (mut now, mut away, mut ids, mut lost, mut wanted) = (began, began, 4, 0, 0.0);
    while now < began + Duration::from_hours(24) {
        now += STEP;
        law.before(now);
        if chance.random_ratio(1, 8_000) {
            away = now + Duration::from_secs(chance.random_range(1..1_200));
        }
        if chance.random_ratio(1, 2_400) && replicas.len() > 1 {
            replicas.swap_remove(chance.random_range(0..replicas.len()));
        }
        if chance.random_ratio(1, 2_000) && replicas.len() < 8 {
            ids += 1;
            replicas.push(replica(ids, now));
        }
        for replica in &mut replicas {
            if let Some((ask, answer)) = replica.on_its_way.take() {
                if now < away {
                    lost += 1;
                } else {
                    replica.next = now + replica.lease.settle(&ask, answer, now);
                }
            } else if now >= replica.next {
                replica.next = now + ROUND;
                let ask = replica.lease.ask(now, None);
                if now >= away {
                    replica.on_its_way = Some((ask, bank.serve(replica.id, &ask, now)));
                }
            }
        }
        // Nights and peaks: from nothing to three times what comes in, at whichever replica.
        let hour = now.duration_since(began).as_secs_f64() / 3600.0;
        wanted += per_second * STEP.as_secs_f64() * 1.5 * (1.0 + (hour * 1.7).sin());
        while wanted >= 1.0 {
            wanted -= 1.0;
            let at = chance.random_range(0..replicas.len());
            replicas[at].lease.want();
            law.admitted += u64::from(replicas[at].lease.take(now).taken);
        }
        law.after(now);
    }
    (law, lost)
}

#[test]
fn in_a_day_of_comings_and_goings_no_stretch_of_it_admits_more_than_comes_in_and_a_burst() {
    let (law, lost) = day(5, 20, 4);
    let most = f64::from(capacity(rate(5, 20)));
    assert!(law.most <= most + 0.001, "{} at once", law.most);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let used = law.admitted as f64 / (law.per_second * 86_400.0);
    assert!(lost > 0 && used > 0.3, "{lost} answers were lost, {used:.2} was used");
}
