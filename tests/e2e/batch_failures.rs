//! What batches of cards meet on the way: an authority that fails, a gateway that leaves, another company; and the
//! company's own tool.

use std::{collections::HashMap, fmt::Write as _};

use ridegate_proto::partner::v1::{
    BatchRowResult, GetBatchRequest, ReportLostRequest, ReportReissuedRequest, ReportReturnedRequest,
};
use ridegate_sim::authority::Mood;
use tonic::Code;

use crate::{
    batch_streams::{Sending, counts, goods, linked, until_done},
    batches::{row, rows, senior, start},
    errands::{BUS, COMPANY, MANY_TAPS, reason, yikatong},
    house::{House, partner_identity},
    observed::counted,
    process::{ridegate, text},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_fails_leaves_what_was_carried_out_and_no_row_half_done() {
    let house = House::open().await;
    for mood in [Mood::Failing, Mood::Stalled] {
        let batch = format!("{mood:?}");
        let base = if mood == Mood::Failing { 0 } else { 1000 };
        let sending = Sending::begin(&house);
        sending.send(start(&batch)).await;
        sending.send(rows(0, goods(&house, base..base + 10))).await;
        until_done(&house, &batch, 10).await;
        house.authority.feel(mood);
        // Some of these cannot be linked anyway: nor are they noted before the rest of their message is.
        let mut second = goods(&house, base + 10..base + 310);
        second[0] = row(yikatong(1), "x");
        sending.send(rows(10, second.clone())).await;
        let failed = sending.answer.await.unwrap().unwrap_err();
        assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "AUTHORITY_UNAVAILABLE"));
        assert_eq!(house.progress(COMPANY, &batch).await.unwrap().rows_done, 10);
        assert_eq!(linked(&house, base..base + 20).await, (base..base + 10).collect::<Vec<_>>());
        house.authority.feel(Mood::Well);
        let done =
            house.batch(COMPANY, vec![start(&batch), rows(10, second)]).await.unwrap().progress.unwrap();
        assert_eq!((done.rows_done, counts(&done)[&BatchRowResult::Linked]), (310, 309));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_the_card_companys_own() {
    let house = House::open().await;
    house.batch(COMPANY, vec![start("june"), rows(0, goods(&house, 0..3))]).await.unwrap();
    let asked = || GetBatchRequest { batch_id: "june".into(), from_row: 0 };
    for partner in [BUS, "alipay"] {
        let card = Some(senior(0));
        let (lost, reissued) = (card.clone(), card.clone());
        let refusals = [
            house.batch(partner, vec![start("june"), rows(0, goods(&house, 3..4))]).await.unwrap_err(),
            house.get_batch(partner, asked()).await.unwrap_err(),
            house.report_lost(partner, ReportLostRequest { medium: card.clone() }).await.unwrap_err(),
            house.report_reissued(partner, ReportReissuedRequest { lost, reissued }).await.unwrap_err(),
            house.report_returned(partner, ReportReturnedRequest { medium: card }).await.unwrap_err(),
        ];
        for refused in refusals {
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::PermissionDenied, "NOT_A_CARD_COMPANY")
            );
        }
    }
    // Another card company: the same name is another batch, and nothing is told of this one.
    let profile = house.folder.path().join("profiles/beijing-bus.toml");
    let cards = "[[cards]]\nkind = \"senior-card\"\nissuers = [\"01009001\"]\ndigits = 16\nissues = true\n";
    let more = std::fs::read_to_string(&profile).unwrap() + cards;
    std::fs::write(profile.with_extension("new"), more).unwrap();
    std::fs::rename(profile.with_extension("new"), &profile).unwrap();
    counted(&house, "ridegate_partner_reloads_total{outcome=\"taken\"}").await;
    let unknown = house.get_batch(BUS, asked()).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "NO_SUCH_BATCH"));
    let theirs = house.batch(BUS, vec![start("june"), rows(0, goods(&house, 3..4))]).await.unwrap();
    assert_eq!(counts(&theirs.progress.unwrap()), HashMap::from([(BatchRowResult::IssuerRefused, 1)]));
    assert_eq!(house.progress(COMPANY, "june").await.unwrap().rows_done, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_leaves_breaks_a_batch_between_two_messages() {
    let mut house = House::listening("drain = \"10m\"\n", "").await;
    let sending = Sending::begin(&house);
    sending.send(start("june")).await;
    sending.send(rows(0, goods(&house, 0..7))).await;
    until_done(&house, "june", 7).await;
    house.close().await;
    let left = sending.answer.await.unwrap().unwrap_err();
    assert_eq!((left.code(), reason(&left).as_str()), (Code::Unavailable, "LEAVING"));
    let file =
        ridegate_gateway::config::ConfigFile::load(&house.folder.path().join("ridegate.toml")).unwrap();
    let again = ridegate_gateway::app::Settings::new(file, house.clock.clone(), true).unwrap();
    let again = again.start().await.unwrap();
    house.channel = crate::house::connect(&format!("http://{}", again.address())).await;
    assert_eq!(house.progress(COMPANY, "june").await.unwrap().rows_done, 7);
    let done = house.batch(COMPANY, vec![start("june"), rows(7, goods(&house, 7..9))]).await.unwrap();
    assert_eq!(done.progress.unwrap().rows_done, 9);
    again.stop().await;
}

/// The company's own tool, against a real gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_two_thousand_cards_is_imported_and_what_was_refused_is_told() {
    let house = House::with(MANY_TAPS).await;
    let mut file = "kind,issuer,number,authorization_code\n".to_owned();
    for number in 0..2000_u64 {
        // Every hundredth has a code that nobody knows, every five hundredth the number of a card before.
        if number % 100 != 7 {
            house.agree(number, &format!("grant-{number}"));
        }
        let card = if number % 500 == 9 { senior(number / 500) } else { senior(number) };
        writeln!(file, "senior-card,01001001,{},grant-{number}", card.account).unwrap();
    }
    let cards = house.folder.path().join("cards.csv");
    std::fs::write(&cards, file).unwrap();
    let import = || {
        let mut command = ridegate();
        command.arg("import").arg(&cards).args(["--endpoint", &house.endpoint(), "--force"]);
        command.args(["--identity", &partner_identity(COMPANY), "--consent-version", "1", "--timeout=20s"]);
        command.args(["--consent-purpose", "gates", "--consent-granted-at", "2022-06-15T12:00:00+08:00"]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let done = import().await.unwrap();
    let (shown, said) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(1), "{shown}\n{said}");
    assert!(shown.contains("2000 cards\n  linked                   1976\n"), "{shown}");
    let refused = std::fs::read_to_string(house.folder.path().join("cards.refused.csv")).unwrap();
    assert_eq!(refused.lines().count(), 1 + 20 + 4, "{refused}");
    for (number, expect) in [(0, "ALLOW HEALTH_OK"), (7, "INSPECT NOT_LINKED"), (1999, "ALLOW HEALTH_OK")] {
        assert_eq!(house.card(&senior(number)).await, expect, "{number}");
    }
    let exchanges = house.authority.exchanges();
    let again = import().await.unwrap();
    assert!(text(&again.stdout).contains("linked                   1976\n"), "{}", text(&again.stdout));
    assert_eq!(house.authority.exchanges(), exchanges, "nothing is sent again");
    assert_eq!(std::fs::read_to_string(house.folder.path().join("cards.refused.csv")).unwrap(), refused);
}
