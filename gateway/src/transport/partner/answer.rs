//! Outcomes become messages.

use ridegate_adapters::CardKind;
use ridegate_proto::partner::v1::{
    self as proto, BatchCount, BatchProgress, ConfirmDelegatedLinkResponse, ConfirmationResult,
    DelegationResult, GetQuotaResponse, LinkResult, LinkRiderResponse, MediumKind, QuotaBudget, RefusedRow,
    ReissueResult, ResendDelegatedCodeResponse, StartDelegatedLinkResponse,
};
use tonic::Status;

use crate::{
    admission::{quota::Stand, rate::Rate},
    domain::{
        batch,
        link::{LinkOutcome, LinkRecord, Reissued},
    },
    linking::{Confirmed, Started},
    transport::{status, wire},
};

pub(super) fn link(outcome: LinkOutcome) -> Result<LinkRiderResponse, Status> {
    let (result, at_fault, full) = match outcome {
        LinkOutcome::Linked => (LinkResult::Linked, vec![], vec![]),
        LinkOutcome::AlreadyLinked => (LinkResult::AlreadyLinked, vec![], vec![]),
        LinkOutcome::LinkedToSomeoneElse(taken) => (LinkResult::LinkedToSomeoneElse, taken, vec![]),
        LinkOutcome::LimitReached(full) => {
            let (positions, kinds) = full.into_iter().unzip();
            (LinkResult::LimitReached, positions, kinds)
        }
        LinkOutcome::AgentLimitReached => (LinkResult::AgentLimitReached, vec![], vec![]),
        LinkOutcome::AuthorizationUnknown => (LinkResult::AuthorizationUnknown, vec![], vec![]),
        LinkOutcome::AuthorizationUsed => (LinkResult::AuthorizationUsed, vec![], vec![]),
        LinkOutcome::KeyReused => return Err(status::key_reused()),
    };
    // Each kind once, however many of it were named.
    let mut full_kinds: Vec<i32> = full.into_iter().map(|kind| kind_of(kind).into()).collect();
    full_kinds.sort_unstable();
    full_kinds.dedup();
    Ok(LinkRiderResponse {
        result: result.into(),
        refused_media: at_fault.into_iter().filter_map(|position| position.try_into().ok()).collect(),
        full_kinds,
        version_needed: String::new(),
    })
}

const fn kind_of(card: CardKind) -> MediumKind {
    match card {
        CardKind::YikatongCard => MediumKind::YikatongCard,
        CardKind::YikatongNfc => MediumKind::YikatongNfc,
        CardKind::TUnionCard => MediumKind::TUnionCard,
        CardKind::SeniorCard => MediumKind::SeniorCard,
        CardKind::CivilAffairsCard => MediumKind::CivilAffairsCard,
        CardKind::DisabilityServiceCard => MediumKind::DisabilityServiceCard,
    }
}

pub(super) fn link_message(link: LinkRecord) -> proto::Link {
    proto::Link {
        linked_at: Some(wire::timestamp(link.linked_at)),
        channel: link.channel,
        consent: Some(proto::Consent {
            wording_version: link.consent.wording_version,
            granted_at: Some(wire::timestamp(link.consent.granted_at)),
            purpose: link.consent.purpose,
        }),
    }
}

pub(super) const fn reissued(outcome: Reissued) -> ReissueResult {
    match outcome {
        Reissued::Linked => ReissueResult::Linked,
        Reissued::HolderUnknown => ReissueResult::HolderUnknown,
        Reissued::LinkedToSomeoneElse => ReissueResult::LinkedToSomeoneElse,
    }
}

/// Results of rows have the same numbers on the wire and in the registry.
pub(super) fn progress(progress: batch::Progress) -> BatchProgress {
    let count = |(result, rows): (batch::RowResult, u64)| BatchCount { result: row_result(result), rows };
    BatchProgress { rows_done: progress.done, counts: progress.counts.into_iter().map(count).collect() }
}

pub(super) fn refused(row: batch::RefusedRow) -> RefusedRow {
    RefusedRow { row: row.row, result: row_result(row.result) }
}

fn row_result(result: batch::RowResult) -> i32 {
    i32::try_from(result.code()).unwrap_or_default()
}

pub(super) fn started(started: Started) -> Result<StartDelegatedLinkResponse, Status> {
    let mut response = StartDelegatedLinkResponse::default();
    let result = match started {
        Started::Sent { id, until } => {
            response.delegation_id = id;
            response.code_expires_at = Some(wire::timestamp(until));
            DelegationResult::Started
        }
        Started::AuthorizationUnknown => DelegationResult::AuthorizationUnknown,
        Started::AuthorizationUsed => DelegationResult::AuthorizationUsed,
        Started::NoPhone => DelegationResult::NoPhone,
        Started::AgentLimitReached => DelegationResult::AgentLimitReached,
        Started::KeyReused => return Err(status::key_reused()),
        Started::TooSoon => DelegationResult::TooSoon,
        Started::TooOften => DelegationResult::TooOften,
        Started::Unknown => DelegationResult::Unknown,
    };
    response.result = result.into();
    Ok(response)
}

pub(super) fn resent(outcome: Started) -> Result<ResendDelegatedCodeResponse, Status> {
    let StartDelegatedLinkResponse { result, code_expires_at, .. } = started(outcome)?;
    Ok(ResendDelegatedCodeResponse { result, code_expires_at })
}

pub(super) fn confirmed(confirmed: Confirmed) -> Result<ConfirmDelegatedLinkResponse, Status> {
    let mut response = ConfirmDelegatedLinkResponse::default();
    let result = match confirmed {
        Confirmed::Linked(outcome) => {
            response.link = Some(link(outcome)?);
            ConfirmationResult::Confirmed
        }
        Confirmed::WrongCode { tries_left } => {
            response.tries_left = tries_left.try_into().unwrap_or_default();
            ConfirmationResult::WrongCode
        }
        Confirmed::CodeExpired => ConfirmationResult::CodeExpired,
        Confirmed::Unknown => ConfirmationResult::Unknown,
    };
    response.result = result.into();
    Ok(response)
}

pub(super) fn quota(stand: Stand) -> GetQuotaResponse {
    let budget = |(rate, remaining): (Rate, u32)| QuotaBudget {
        per_second: rate.per_second.get(),
        burst: rate.burst.get(),
        remaining,
    };
    GetQuotaResponse {
        codes: Some(budget(stand.codes)),
        calls: Some(budget(stand.calls)),
        whole_fleet: stand.whole_fleet,
        replicas: stand.replicas,
    }
}

#[cfg(test)]
mod tests {
    use ridegate_proto::partner::v1::BatchRowResult;

    use super::*;

    #[test]
    fn results_of_rows_are_the_wires() {
        for (result, name) in [
            (batch::RowResult::Linked, BatchRowResult::Linked),
            (batch::RowResult::AlreadyLinked, BatchRowResult::AlreadyLinked),
            (batch::RowResult::LinkedToSomeoneElse, BatchRowResult::LinkedToSomeoneElse),
            (batch::RowResult::AuthorizationUnknown, BatchRowResult::AuthorizationUnknown),
            (batch::RowResult::AuthorizationUsed, BatchRowResult::AuthorizationUsed),
            (batch::RowResult::KindRefused, BatchRowResult::KindRefused),
            (batch::RowResult::IssuerRefused, BatchRowResult::IssuerRefused),
            (batch::RowResult::NumberRefused, BatchRowResult::NumberRefused),
            (batch::RowResult::AuthorizationRefused, BatchRowResult::AuthorizationRefused),
        ] {
            assert_eq!(row_result(result), i32::from(name));
        }
    }
}
