//! What the reader shows: nothing that tells a bystander a diagnosis (D28).

use ridegate_adapters::{Prompts, RefusedMedium, Words};

use super::verdict::{Inspect, Verdict};

/// Text, tone and colour for one verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// Chinese; empty on ALLOW.
    pub zh: &'static str,
    /// English; empty on ALLOW.
    pub en: &'static str,
    /// The sound.
    pub tone: Tone,
    /// The screen.
    pub color: Color,
}

/// Sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The reader's ordinary tone.
    Ordinary,
    /// Staff should look.
    Attention,
    /// Show the code again, or refresh it.
    Retry,
}

/// Screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// The reader's ordinary screen.
    Ordinary,
    /// The rider, or nobody, can mend it.
    Yellow,
    /// Staff should look.
    Red,
}

impl Prompt {
    /// Whoever wants a ticket has one. Says nothing of health.
    pub const TICKET_OPEN: Self = Self {
        zh: "已有未使用的车票，请先使用",
        en: "There is an unused ticket, please use it first",
        tone: Tone::Attention,
        color: Color::Yellow,
    };

    /// The prompt for a verdict. It depends on the verdict alone, and every health reason but "not found" has the
    /// same one.
    pub const fn of(verdict: Verdict) -> Self {
        use Color::{Red, Yellow};
        use Tone::{Attention, Retry};
        let inspect = match verdict {
            Verdict::Allow(_) => {
                return Self { zh: "", en: "", tone: Tone::Ordinary, color: Color::Ordinary };
            }
            Verdict::Inspect(inspect) => inspect,
        };
        let (zh, en, tone, color) = match inspect {
            Inspect::HealthAbnormal | Inspect::HealthPopup | Inspect::TestMissing | Inspect::TestOverdue => {
                ("健康码异常", "Health code needs a check", Attention, Red)
            }
            Inspect::NotLinked | Inspect::NoRecord => (
                "未查询到健康码信息，请您尽快授权升级",
                "No health code found, please link yours in the app soon",
                Attention,
                Yellow,
            ),
            Inspect::CodeUnrecognized => {
                ("无法识别，请出示乘车码", "Not recognised, please show a ride code", Retry, Yellow)
            }
            Inspect::CodeMalformed => {
                ("乘车码读取不完整，请重新出示", "Code not read in full, please show it again", Retry, Yellow)
            }
            Inspect::CodeUntrusted => {
                ("乘车码无效，请联系工作人员", "Code not valid, please ask staff", Attention, Red)
            }
            Inspect::CodeExpired => {
                ("乘车码已过期，请刷新", "Code expired, please refresh it", Retry, Yellow)
            }
            Inspect::CodeReplayed => {
                ("乘车码已使用，请刷新", "Code already used, please refresh it", Retry, Yellow)
            }
            Inspect::MediumUnsupported => (
                "不支持此票种，请使用其他方式",
                "Not accepted here, please use another way in",
                Attention,
                Yellow,
            ),
            Inspect::LookupFailed => (
                "暂时无法核验，请联系工作人员",
                "Cannot check right now, please ask staff",
                Attention,
                Yellow,
            ),
            Inspect::Throttled => ("系统繁忙，请稍后再试", "Busy, please try again shortly", Retry, Yellow),
            Inspect::Overloaded => ("系统繁忙，请联系工作人员", "Busy, please ask staff", Attention, Yellow),
        };
        Self { zh, en, tone, color }
    }

    /// The prompt for a medium that is not accepted: what it is, and another way in (D3).
    pub const fn of_refused(medium: RefusedMedium) -> Self {
        let (zh, en) = match medium {
            RefusedMedium::UnionpayBankCard => (
                "不支持银联卡，请出示云闪付乘车码",
                "Bank cards not accepted, please show the app's ride code",
            ),
            RefusedMedium::DigitalRmbWearable => (
                "不支持数字人民币穿戴设备，请出示乘车码",
                "Digital RMB wearables not accepted, please show a ride code",
            ),
            RefusedMedium::AlipayPrepaidTicket => (
                "电子单程票已停用，请出示支付宝乘车码",
                "E-tickets not accepted, please show your Alipay ride code",
            ),
            RefusedMedium::AirRailTicket => (
                "不支持空轨联运票，请使用乘车码或交通卡",
                "Air-rail tickets not accepted, please use a code or card",
            ),
        };
        Self { zh, en, tone: Tone::Attention, color: Color::Yellow }
    }
}

/// A partner's own words for a reason, if it has any. Of health there are none: that prompt is the same for everybody.
pub const fn own_words(reason: Inspect, prompts: &Prompts) -> Option<&Words> {
    let own = match reason {
        Inspect::NotLinked | Inspect::NoRecord => &prompts.not_linked,
        Inspect::CodeMalformed => &prompts.code_malformed,
        Inspect::CodeUntrusted => &prompts.code_untrusted,
        Inspect::CodeExpired => &prompts.code_expired,
        Inspect::CodeReplayed => &prompts.code_replayed,
        Inspect::MediumUnsupported => &prompts.medium_unsupported,
        Inspect::LookupFailed => &prompts.lookup_failed,
        Inspect::Throttled => &prompts.throttled,
        Inspect::HealthAbnormal
        | Inspect::HealthPopup
        | Inspect::TestMissing
        | Inspect::TestOverdue
        | Inspect::CodeUnrecognized
        | Inspect::Overloaded => return None,
    };
    own.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inspect: Inspect) -> Prompt {
        Prompt::of(Verdict::Inspect(inspect))
    }

    #[test]
    fn a_bystander_cannot_tell_one_health_reason_from_another() {
        let abnormal = of(Inspect::HealthAbnormal);
        assert_eq!(abnormal.zh, "健康码异常");
        for other in [Inspect::HealthPopup, Inspect::TestMissing, Inspect::TestOverdue] {
            assert_eq!(of(other), abnormal);
        }
    }

    #[test]
    fn each_medium_that_is_not_accepted_has_words_of_its_own_that_fit_a_screen() {
        let general = of(Inspect::MediumUnsupported);
        let all: Vec<_> = RefusedMedium::ALL.into_iter().map(Prompt::of_refused).chain([general]).collect();
        for (position, prompt) in all.iter().enumerate() {
            assert!(!all[..position].iter().any(|other| other.zh == prompt.zh || other.en == prompt.en));
            assert!(prompt.zh.contains("请") && prompt.en.contains("please"), "another way in: {prompt:?}");
            assert!(prompt.zh.chars().count() <= 60 && prompt.en.len() <= 60, "{prompt:?}");
            assert_eq!((prompt.tone, prompt.color), (general.tone, general.color));
        }
    }

    #[test]
    fn an_open_ticket_is_told_apart_and_says_nothing_of_health() {
        for inspect in Inspect::ALL {
            assert_ne!(of(inspect).zh, Prompt::TICKET_OPEN.zh);
        }
        assert!(!Prompt::TICKET_OPEN.zh.contains("健康"));
    }

    #[test]
    fn a_failed_look_up_never_sends_a_rider_away_to_link_again() {
        assert_eq!(of(Inspect::NotLinked).zh, "未查询到健康码信息，请您尽快授权升级");
        assert_eq!(of(Inspect::NoRecord), of(Inspect::NotLinked));
        assert_ne!(of(Inspect::LookupFailed).zh, of(Inspect::NotLinked).zh);
        assert_ne!(of(Inspect::LookupFailed).en, of(Inspect::NotLinked).en);
    }
}
