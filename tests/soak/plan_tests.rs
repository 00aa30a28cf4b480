//! The plan is the seed's, and worth carrying out.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_same_seed_is_the_same_plan_and_another_is_another() {
    let plans = [1, 1, 2].map(|seed| Plan::of_kills(seed, 40, 50));
    assert_eq!(plans[0], plans[1]);
    assert_eq!(plans[0].digest(), plans[1].digest());
    assert_ne!(plans[0].digest(), plans[2].digest());
}

#[test]
fn every_part_has_its_turns_and_two_at_the_most_are_away() {
    for seed in 0..50 {
        let plan = Plan::of_kills(seed, 100, 1);
        assert_eq!(plan.outages.len(), 100);
        let kinds = |outages: &[Outage]| {
            outages.iter().map(|one| std::mem::discriminant(&one.part)).collect::<Vec<_>>()
        };
        assert!(kinds(&plan.outages[..8]).contains(&std::mem::discriminant(&Part::Postgres)));
        for (number, one) in plan.outages.iter().enumerate() {
            let before = &plan.outages[..number];
            let away = before.iter().filter(|other| other.at + other.lasts > one.at);
            assert!(away.count() <= 1, "{seed} {number}");
            let again = before.iter().any(|other| other.part == one.part && other.at + other.lasts > one.at);
            assert!(!again, "{seed} {number}: it has to come back first");
        }
        let terminated = plan.outages.iter().filter(|one| one.how == How::Terminate).count();
        assert!((12..=13).contains(&terminated));
    }
}

#[test]
fn nobody_has_two_codes_of_one_second_and_copies_are_shown_elsewhere() {
    let plan = Plan::of_kills(3, 8, 60);
    let mut seen = BTreeSet::new();
    for visit in &plan.visits {
        let rider = visit.turn % plan.riders(visit.class);
        assert!(seen.insert((visit.class, rider, visit.at / 1000)), "{visit:?}");
        if visit.class == Class::Copied {
            let gates: BTreeSet<_> = visit.again.iter().map(|step| step.gate).chain([visit.gate]).collect();
            assert_eq!(gates.len(), 3);
        }
    }
    assert!(MIX.iter().all(|(class, _)| plan.visits.iter().any(|visit| visit.class == *class)));
    assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u32>(), 100);
}
