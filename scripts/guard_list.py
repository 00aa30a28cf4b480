"""Guards, and what must fail when one is taken out. `make guards` tries them; add yours at the end of the list.

name      what it is called
file      where it is
text      the guard itself, as it stands there, exactly once
becomes   what it becomes: something that builds, and lets through what the guard keeps out
tests     a nextest filter: at least one of these tests must then fail, and all must pass before
package   whose tests they are; "ridegate" is end to end
"""

from typing import NamedTuple

GATEWAY = "ridegate-gateway"
ADAPTERS = "ridegate-adapters"
END_TO_END = "ridegate"


class Guard(NamedTuple):
    name: str
    file: str
    text: str
    becomes: str
    tests: str
    package: str = GATEWAY


GUARDS = [
    # Who does not answer is not asked for ever.
    Guard(
        "redis-breaker",
        "gateway/src/backends/redis/line.rs",
        "connection.is_useless(weight) >= ENOUGH {",
        "connection.is_useless(weight) == u32::MAX {",
        "test(a_server_that_hangs_costs_a_few_their_cap_and_then_nobody_anything)",
        END_TO_END,
    ),
    Guard(
        "resolver-breaker",
        "gateway/src/breaker.rs",
        "if failures >= ENOUGH {",
        "if failures == u32::MAX {",
        "test(/^days::breaker/)",
    ),
    Guard(
        "breaker-longest-pause",
        "gateway/src/breaker.rs",
        "self.open(now, LONGEST_PAUSE.min(pause * 2));",
        "self.open(now, pause * 2);",
        "test(/^days::breaker/)",
    ),
    Guard(
        "breaker-one-trial",
        "gateway/src/breaker.rs",
        "State::Open { .. } | State::Trying { .. } => return None,",
        "State::Open { .. } => return None,\n            State::Trying { .. } => {}",
        "test(after_the_pause_one_is_tried_and_decides) | test(it_neither_stays_open)",
    ),
    # A verdict has one time budget.
    Guard(
        "authority-inside-the-budget",
        "gateway/src/resolve/mod.rs",
        "budget.capped(self.authority_cap)",
        "self.authority_cap",
        "test(an_authority_that_never_answers_costs_the_budget_and_no_more)",
        END_TO_END,
    ),
    Guard(
        "overloaded",
        "gateway/src/road.rs",
        "Err(_) => Err(Inspect::Overloaded.into()),",
        "Err(_) => self.pass(tap, verdict_id, budget, &mut partner, &mut stages).await,",
        "test(what_comes_on_top_is_told_overloaded_and_takes_no_claim)",
        END_TO_END,
    ),
    Guard(
        "the-connection-of-every-core-is-looked-after",
        "gateway/src/backends/redis/keeper.rs",
        "connections.each().map(|connection| probe(",
        "connections.each().take(1).map(|connection| probe(",
        "test(every_core_asks_over_a_connection_of_its_own_and_when_one_ends_all_are_made_anew)",
    ),
    Guard(
        "a-question-that-failed-is-no-answer",
        "gateway/src/resolve/finds.rs",
        "answers.unwrap_or_else(|error| vec![Err(error); tell.len()])",
        "answers.unwrap_or_else(|_| vec![Ok(None); tell.len()])",
        "test(of_a_question_that_fails_everybody_hears_and_the_next_is_asked)",
    ),
    Guard(
        "a-row-that-cannot-be-read-is-somebodys",
        "gateway/src/backends/registry/mod.rs",
        "Ok(Some(Found { name, subject: subject? }))",
        "Ok(subject.ok().map(|subject| Found { name, subject }))",
        "test(/many_are_found_by_one_question_each_its_own/)",
        END_TO_END,
    ),
    Guard(
        "a-share-is-given-back-before-the-turn",
        "gateway/src/door/places.rs",
        "    _share: Share<Source>,\n    _turn: OwnedSemaphorePermit,\n",
        "    _turn: OwnedSemaphorePermit,\n    _share: Share<Source>,\n",
        "test(who_has_the_next_turn_finds_the_share_of_who_had_it_before)",
    ),
    Guard(
        "an-answer-that-says-no-is-no-sign-of-life",
        "gateway/src/backends/redis/line.rs",
        "                    Err(error) => Err(failed(&error)),",
        "                    Err(error) => {\n                        connection.is_useful();\n                        Err(failed(&error))\n                    }",
        "test(answers_that_say_no_are_no_sign_of_life_also_where_several_are_asked_at_once)",
    ),
    Guard(
        "a-connection-that-hangs-is-counted-by-itself",
        "gateway/src/backends/redis/line.rs",
        "                if began.elapsed() <= useful {\n                    connection.is_useful();",
        "                if began.elapsed() <= useful {\n                    connections.each().for_each(Connection::is_useful);",
        "test(a_connection_that_hangs_alone_is_given_up_after_five_questions_however_often_others_are_answered)",
    ),
    # What is remembered is not believed for longer than was promised, and serves as long as that.
    Guard(
        "stale-facts-end",
        "gateway/src/resolve/facts.rs",
        "} else if age_of(as_of) <= freshness.stale {",
        "} else if as_of <= now {",
        "test(/^resolve::days::/)",
    ),
    Guard(
        "stale-facts-serve",
        "gateway/src/resolve/facts.rs",
        "} else if age_of(as_of) <= freshness.stale {",
        "} else if as_of > now {",
        "test(/^resolve::days::/)",
    ),
    Guard(
        "unwatched-facts-end",
        "gateway/src/resolve/facts.rs",
        "if watched || age_of(confirmed_at) <= freshness.unwatched {",
        "if watched || age_of(confirmed_at) <= freshness.stale {",
        "test(in_days_of_outages_no_facts_are_believed)",
    ),
    Guard(
        "no-record-ends",
        "gateway/src/resolve/facts.rs",
        "let believed = age_of(self.fetched_at) <= freshness.no_record;",
        "let believed = age_of(self.fetched_at) <= freshness.unwatched;",
        "test(/^resolve::days::/)",
    ),
    Guard(
        "older-facts-do-not-replace",
        "gateway/src/resolve/facts.rs",
        "(Some(new), Some(old)) => new.as_of >= old.as_of,",
        "(Some(_), Some(_)) => true,",
        "test(older_facts_never_replace_newer_ones)",
    ),
    Guard(
        "stale-links-end",
        "gateway/src/resolve/links.rs",
        ".filter(|unheard| *unheard <= self.stale_max.max(FRESH))?",
        "?",
        "test(/^resolve::days::/)",
    ),
    Guard(
        "stale-links-serve",
        "gateway/src/resolve/links.rs",
        "*unheard <= self.stale_max.max(FRESH)",
        "*unheard <= FRESH",
        "test(/^resolve::days::/)",
    ),
    Guard(
        "readings-swept",
        "gateway/src/reading/memory.rs",
        "if since >= self.sweep_after.load(Relaxed) {",
        "if since >= SWEEP_FROM.max(self.known.len()) {",
        "test(/^reading::days::/)",
    ),
    # A code is used once.
    Guard(
        "claims-hold-to-the-end",
        "gateway/src/domain/claim.rs",
        "now > self.until",
        "now >= self.until",
        "test(/^days::claims/)",
    ),
    Guard(
        "claims-end",
        "gateway/src/backends/memory.rs",
        "        shard.sweep(now);\n",
        "",
        "test(/^days::claims/)",
    ),
    Guard(
        "double-read-ends",
        "gateway/src/domain/claim.rs",
        "let read_twice = same_device && next.at.duration_since(claim.first.at) <= double_read;",
        "let read_twice = same_device && next.at.duration_since(claim.first.at) <= double_read * 2;",
        "test(/^days::claims/)",
    ),
    Guard(
        "being-decided-in-redis",
        "gateway/src/backends/redis/take.lua",
        "elseif not (state == 'f' and deciding == 0) then",
        "elseif state == 'u' then",
        "test(/^backends::redis::tests::of_many_at_once_one_is_fresh/)",
    ),
    Guard(
        "as-of-in-redis",
        "gateway/src/backends/redis/put.lua",
        "if not newer then",
        "if true then",
        "test(older_facts_of_a_person_never_replace_newer_ones)",
    ),
    Guard(
        "claims-told-again",
        "gateway/src/claim.rs",
        "                    self.0.table.forget_told();\n",
        "",
        "test(/^fleet::/)",
        END_TO_END,
    ),
    # Budgets.
    Guard(
        "leaving-is-waited-for",
        "gateway/src/admission/quota/budget.rs",
        "        if !self.standing.is_leased() {\n            return self.local.load().spend();\n        }\n        if self.take_leased() {\n            return Ok(());\n        }\n        if self.is_left_alone",
        "        if self.is_left_alone",
        "test(nothing_is_refused_while_what_was_in_hand_becomes_the_processs_own)",
    ),
    Guard(
        "leases-end",
        "gateway/src/admission/quota/lease.rs",
        "(hand > 0 && is_good).then(|| hand - 1)",
        "(hand > 0).then(|| hand - 1)",
        "test(/^admission::quota::lease::/)",
    ),
    # Days are Beijing's.
    Guard(
        "midnight-of-beijing",
        "gateway/policies/beijing-2022.toml",
        'time_zone = "Asia/Shanghai"',
        'time_zone = "UTC"',
        "test(/^days::policy/)",
    ),
    Guard(
        "carry-over-of-yesterday",
        "gateway/src/domain/counter.rs",
        "Test::Pending { sampled_at: Some(at) } => days_between(policy.date(*at), today) == 1,",
        "Test::Pending { sampled_at: Some(at) } => days_between(policy.date(*at), today) <= 1,",
        "test(/^days::policy/)",
    ),
    # Nobody waits for who does not answer.
    Guard(
        "authority-breaker",
        "gateway/src/backends/authority/mod.rs",
        "Err(Failure::Status(code)) if !is_about_the_call(*code) => End::Absent,",
        "Err(Failure::Status(code)) if !is_about_the_call(*code) => End::Answered,",
        "test(an_authority_that_is_away_is_spared_nearly_all_look_ups)",
        END_TO_END,
    ),
    Guard(
        "registry-breaker",
        "gateway/src/resolve/links.rs",
        "Err(RegistryError::Unavailable(_)) => End::Absent,",
        "Err(RegistryError::Unavailable(_)) => End::Answered,",
        "test(/^breakers::a_registry_that_does_not_answer/)",
        END_TO_END,
    ),
    # Overload.
    Guard(
        "queue-is-bounded",
        "gateway/src/admission/turns.rs",
        "if !self.is_worth_it(came, place.number) {",
        "if false && !self.is_worth_it(came, place.number) {",
        "test(/^overload::/)",
        END_TO_END,
    ),
    Guard(
        "a-rush-that-lasts-is-not-waited-out",
        "gateway/src/admission/turns.rs",
        "waits <= if self.lasts(now) { short } else { self.longest }",
        "waits <= self.longest",
        "test(/^admission::turns::/)",
    ),
    Guard(
        "handshakes-let-others-go-first",
        "gateway/src/door/places.rs",
        "            step_back().await;\n            let step",
        "            let step",
        "test(whoever_is_in_goes_first)",
    ),
    Guard(
        "who-stood-still-counts-alone",
        "gateway/src/admission/quota/budget.rs",
        "        if self.is_left_alone(&settled) {",
        "        if false && self.is_left_alone(&settled) {",
        "test(a_replica_that_stood_still_counts_alone)",
    ),
    # What others were told before changes were heard of here.
    Guard(
        "facts-of-others-before-the-watch",
        "gateway/src/resolve/desk.rs",
        "Known::Facts { facts, as_of } if !heard =>",
        "Known::Facts { facts, as_of } if state.watch.running && !heard =>",
        "test(what_others_were_told_is_believed_if_every_change_since_was_heard)",
    ),
    # A driver that does not survive an answer, and answers to other questions.
    Guard(
        "registry-survives-its-driver",
        "gateway/src/backends/registry/ask.rs",
        "AssertUnwindSafe(work).catch_unwind()",
        "AssertUnwindSafe(work).map(Ok::<_, ()>)",
        "test(whatever_becomes_of_a_question_it_has_an_end_and_is_counted)",
    ),
    Guard(
        "retry-is-the-same-verdict",
        "gateway/src/domain/claim.rs",
        "let retry = same_device && known_request;",
        "let retry = false;",
        "test(/^claims::/)",
        END_TO_END,
    ),
    # Signatures verified before.
    Guard(
        "an-issuer-is-remembered-under-its-root",
        "adapters/src/mot/check.rs",
        "let digest = Sha256::new().chain_update(self.root.xy()).chain_update(certificate.message);",
        "let digest = Sha256::new().chain_update(certificate.message);",
        "test(what_is_remembered_of_an_issuer_is_bound_to_its_root)",
        ADAPTERS,
    ),
    Guard(
        "an-authorization-is-remembered-under-its-root",
        "adapters/src/mot/check.rs",
        "Sha256::new().chain_update(self.root.xy()).chain_update(self.code.issuer_levels()).finalize();",
        "Sha256::new().chain_update(self.code.issuer_levels()).finalize();",
        "test(a_root_that_is_replaced_vouches_for_nothing_its_successor_does_not)",
        END_TO_END,
    ),
    Guard(
        "an-issuer-is-remembered-with-its-roots-signature",
        "adapters/src/mot/check.rs",
        "CertificateId(digest.chain_update(certificate.signature).finalize().into())",
        "CertificateId(digest.finalize().into())",
        "test(an_issuer_that_was_seen_costs_its_roots_signature_once)",
        ADAPTERS,
    ),
    Guard(
        "an-issuer-that-is-remembered-may-be-revoked",
        "adapters/src/mot/check.rs",
        "Ok(_) if trust.is_revoked(certificate.issuer, certificate.serial) => Distrust::Revoked,",
        "Ok(_) if false && trust.is_revoked(certificate.issuer, certificate.serial) => Distrust::Revoked,",
        "test(an_issuer_that_is_remembered_is_trusted_as_long_as_one_that_is_not)",
        ADAPTERS,
    ),
    Guard(
        "what-costs-no-signature-takes-no-turn",
        "gateway/src/road.rs",
        "let accepted = admitted.accept(second)?;",
        "let _early = self.turns.wait().await.ok_or(Inspect::Overloaded)?;\n"
        "                let accepted = admitted.accept(second)?;",
        "test(a_code_that_is_over_waits_for_no_core_and_is_never_too_much)",
        END_TO_END,
    ),
]
