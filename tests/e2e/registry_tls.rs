//! A registry on another machine is believed only if it shows a certificate of its own.

use std::sync::Arc;

use jiff::SignedDuration;
use ridegate_gateway::{
    backends::registry::{Location, OpenError, Registry},
    keyring::Keyring,
};
use ridegate_sim::pki::Pki;

use crate::postgres::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_is_used_over_tls_if_its_certificate_is_of_whom_we_trust_and_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let pki = |name: &str| Pki::create(&folder.path().join(name), SignedDuration::from_hours(24)).unwrap();
    let (ours, others) = (pki("ours"), pki("others"));
    let postgres = tokio::task::block_in_place(|| {
        let postgres = Postgres::start();
        postgres.secure(&ours.server(&["127.0.0.1".into()]).unwrap());
        postgres
    });
    let database = tokio::task::block_in_place(|| postgres.create_database());
    let name = database.rsplit('/').next().unwrap();
    let keys = Arc::new(Keyring::new(&[7; 32]));
    let location = |pki: &Pki, host: &str| {
        let address = postgres.address(name).replace("127.0.0.1", host);
        let url = format!("{address}?sslmode=verify-full&sslrootcert={}", pki.ca().display());
        Location::server(&url, Some(postgres.password()), 2, false).unwrap()
    };
    for refused in [location(&others, "127.0.0.1"), location(&ours, "localhost")] {
        let refused = Registry::migrate(&refused, Arc::clone(&keys)).await.unwrap_err();
        assert!(matches!(refused, OpenError::Database(_)), "{refused}");
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
    let ours = location(&ours, "127.0.0.1");
    assert_eq!(Registry::migrate(&ours, Arc::clone(&keys)).await.unwrap(), 0, "it was empty");
    let registry = Registry::open(&ours, keys).await.unwrap();
    let connections = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                       WHERE application_name <> 'psql' AND backend_type = 'client backend'";
    let secured = tokio::task::block_in_place(|| postgres.sql(name, connections));
    assert_eq!(secured.trim(), "t", "every connection of ours");
    registry.close().await;
}
