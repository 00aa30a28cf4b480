//! Open tickets. Whether a person may have another is decided by one statement, so that of two windows that ask at once
//! one wins, in one process or in many.

use jiff::Timestamp;

use super::{Registry, RegistryError, row::bytes};
use crate::domain::{pseudonym::Pseudonym, ticket::SaleReported};

/// How late a sale may be reported.
const LATE_MS: i64 = 24 * 3_600_000;

impl Registry {
    /// Holds a sale for a person until then; `false` if the person has an open ticket, or another sale is held. Committed
    /// when this returns.
    pub async fn hold(
        &self,
        person: &Pseudonym,
        sale: &Pseudonym,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, RegistryError> {
        let held = sqlx::query(
            "INSERT INTO ticket (person, sale, number, until) VALUES ($1, $2, NULL, $3)
             ON CONFLICT (person) DO UPDATE SET sale = excluded.sale, number = NULL, until = excluded.until
             WHERE ticket.until < $4",
        )
        .bind(bytes(person))
        .bind(bytes(sale))
        .bind(until.as_millisecond())
        .bind(now.as_millisecond())
        .execute(self.writer()?)
        .await?;
        Ok(held.rows_affected() > 0)
    }

    /// Lets go of a sale that was not made.
    pub async fn release(&self, sale: &Pseudonym) -> Result<(), RegistryError> {
        let released = sqlx::query("DELETE FROM ticket WHERE sale = $1 AND number IS NULL").bind(bytes(sale));
        released.execute(self.writer()?).await?;
        Ok(())
    }

    /// The sale was made: its ticket is open until then. A hold that is over still counts while nobody else has taken
    /// the person's place, because the ticket was sold. Committed when this returns.
    pub async fn sold(
        &self,
        sale: &Pseudonym,
        ticket: &Pseudonym,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<SaleReported, RegistryError> {
        // Numbers come round again: a ticket that is over does not count.
        sqlx::query("DELETE FROM ticket WHERE number = $1 AND until < $2 AND sale <> $3")
            .bind(bytes(ticket))
            .bind(now.as_millisecond())
            .bind(bytes(sale))
            .execute(self.writer()?)
            .await?;
        let sold =
            sqlx::query("UPDATE ticket SET number = $1, until = $2 WHERE sale = $3 AND number IS NULL")
                .bind(bytes(ticket))
                .bind(until.as_millisecond())
                .bind(bytes(sale))
                .execute(self.writer()?)
                .await;
        match sold {
            Ok(sold) if sold.rows_affected() > 0 => return Ok(SaleReported::Recorded),
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Ok(SaleReported::OtherTicket);
            }
            Err(error) => return Err(error.into()),
        }
        let before = sqlx::query_scalar("SELECT number FROM ticket WHERE sale = $1").bind(bytes(sale));
        let before: Option<Option<Vec<u8>>> = before.fetch_optional(self.writer()?).await?;
        Ok(match before {
            None => SaleReported::NoSuchSale,
            Some(number) if number == Some(bytes(ticket)) => SaleReported::Recorded,
            Some(_) => SaleReported::OtherTicket,
        })
    }

    /// The ticket was used or refunded; tells whether it was open. Committed when this returns.
    pub async fn used(&self, ticket: &Pseudonym, now: Timestamp) -> Result<bool, RegistryError> {
        let used = sqlx::query("DELETE FROM ticket WHERE number = $1 AND until >= $2");
        let used = used.bind(bytes(ticket)).bind(now.as_millisecond()).execute(self.writer()?).await?;
        Ok(used.rows_affected() > 0)
    }

    /// Deletes what is over: it counts no more. A sale that was held and not reported stays for a day more, because a late
    /// report of it still counts. Tells how much that was.
    pub async fn forget_old_tickets(&self, now: Timestamp) -> Result<u64, RegistryError> {
        let old = sqlx::query("DELETE FROM ticket WHERE until < $1 AND (number IS NOT NULL OR until < $2)");
        let old = old.bind(now.as_millisecond()).bind(now.as_millisecond() - LATE_MS);
        Ok(old.execute(self.writer()?).await?.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;
    use crate::{backends::registry::Location, keyring::Keyring};

    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const HOLD: SignedDuration = SignedDuration::from_mins(2);

    async fn registry() -> (Registry, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keyring::new(&[1; 32]));
        (Registry::open(&Location::File(folder.path().join("ridegate.db")), keys).await.unwrap(), folder)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn name(of: u8) -> Pseudonym {
        Pseudonym([of; 32])
    }

    impl Registry {
        async fn holds(&self, person: u8, sale: u8, second: i64) -> bool {
            self.hold(&name(person), &name(sale), at(second), at(second) + HOLD).await.unwrap()
        }

        async fn sells(&self, sale: u8, ticket: u8, second: i64) -> SaleReported {
            self.sold(&name(sale), &name(ticket), at(second), at(second) + DAY).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_person_has_one_place_until_it_is_over_or_given_back() {
        let (registry, _folder) = registry().await;
        assert!(registry.holds(1, 11, 0).await);
        assert!(!registry.holds(1, 12, 0).await);
        assert!(registry.holds(2, 21, 0).await, "another person's is another place");
        assert!(!registry.holds(1, 12, 120).await, "to the last moment");
        assert!(registry.holds(1, 12, 121).await);
        registry.release(&name(11)).await.unwrap();
        assert!(!registry.holds(1, 13, 121).await, "who has lost the place cannot give it back");
        registry.release(&name(12)).await.unwrap();
        assert!(registry.holds(1, 13, 121).await);
    }

    #[tokio::test]
    async fn a_sale_has_one_ticket_and_a_ticket_one_sale() {
        let (registry, _folder) = registry().await;
        assert_eq!(registry.sells(11, 91, 0).await, SaleReported::NoSuchSale);
        assert!(registry.holds(1, 11, 0).await && registry.holds(2, 21, 0).await);
        assert_eq!(registry.sells(11, 91, 0).await, SaleReported::Recorded);
        assert_eq!(registry.sells(11, 91, 60).await, SaleReported::Recorded, "a repeat");
        assert_eq!(registry.sells(11, 92, 60).await, SaleReported::OtherTicket);
        assert_eq!(registry.sells(21, 91, 60).await, SaleReported::OtherTicket);
        registry.release(&name(11)).await.unwrap();
        assert!(!registry.holds(1, 12, 86_400).await, "what was sold is not given back");
        assert!(registry.holds(1, 12, 86_401).await, "a repeat does not keep it open for longer");
        assert_eq!(registry.sells(11, 91, 86_401).await, SaleReported::NoSuchSale);
    }

    #[tokio::test]
    async fn a_late_report_counts_while_nobody_has_taken_the_place() {
        let (registry, _folder) = registry().await;
        assert!(registry.holds(1, 11, 0).await);
        assert_eq!(registry.sells(11, 91, 500).await, SaleReported::Recorded);
        assert!(!registry.holds(1, 12, 501).await);
    }

    #[tokio::test]
    async fn a_ticket_that_was_used_makes_room_and_one_that_is_over_does_not_count() {
        let (registry, _folder) = registry().await;
        assert!(registry.holds(1, 11, 0).await);
        registry.sells(11, 91, 0).await;
        assert!(registry.used(&name(91), at(1)).await.unwrap());
        assert!(!registry.used(&name(91), at(1)).await.unwrap());
        assert!(registry.holds(1, 12, 1).await);
        registry.sells(12, 92, 1).await;
        assert!(!registry.used(&name(92), at(90_000)).await.unwrap(), "it was over");
        // Its number may come again, with another person.
        assert!(registry.holds(2, 21, 90_000).await);
        assert_eq!(registry.sells(21, 92, 90_000).await, SaleReported::Recorded);
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten_and_nothing_else() {
        let (registry, _folder) = registry().await;
        assert!(registry.holds(1, 11, 0).await && registry.holds(2, 21, 0).await);
        registry.sells(21, 91, 0).await;
        assert_eq!(registry.forget_old_tickets(at(120)).await.unwrap(), 0);
        assert_eq!(registry.forget_old_tickets(at(121)).await.unwrap(), 0, "it may still be reported");
        assert!(!registry.holds(2, 22, 121).await);
        assert_eq!(registry.forget_old_tickets(at(86_401)).await.unwrap(), 1, "the ticket");
        assert_eq!(registry.forget_old_tickets(at(86_521)).await.unwrap(), 1, "the sale");
        assert_eq!(registry.sells(11, 92, 86_521).await, SaleReported::NoSuchSale);
    }
}
