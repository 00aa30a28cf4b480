//! The cells: what breaks, how, and what is right then. A row a cell.

use ridegate_proto::validator::v1::DegradedCause;
use ridegate_sim::authority::Mood;

/// What lies behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upstream {
    Redis,
    Registry,
    Authority,
    Resolver,
}

use Upstream::{Authority, Redis, Registry, Resolver};

impl Upstream {
    pub const fn cause(self) -> DegradedCause {
        match self {
            Redis => DegradedCause::Redis,
            Registry => DegradedCause::Registry,
            Authority => DegradedCause::Authority,
            Resolver => DegradedCause::Resolver,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Redis => "Redis",
            Registry => "PostgreSQL",
            Authority => "authority",
            Resolver => "resolver",
        }
    }

    /// 1 while it answers.
    pub const fn gauge(self) -> &'static str {
        match self {
            Redis => "ridegate_dependency_up{dependency=\"redis\"}",
            Registry => "ridegate_dependency_up{dependency=\"registry\"}",
            Authority => "ridegate_dependency_up{dependency=\"authority\"}",
            Resolver => "ridegate_resolver_up{partner=\"yitongxing\"}",
        }
    }

    /// What the log says as it goes, and as it is back.
    pub const fn lines(self, form: Form) -> [&'static str; 2] {
        match self {
            Redis if matches!(form, Form::Cluster) => {
                ["a node of Redis is away", "a node of Redis is used again"]
            }
            Redis => ["Redis is away", "Redis is used again"],
            Registry => {
                ["the registry's changes cannot be followed", "the registry's changes are followed again"]
            }
            Authority => ["the authority's changes cannot be followed", "following the authority's changes"],
            Resolver => ["a partner's resolver does not answer", "a partner's resolver answers again"],
        }
    }
}

/// How it breaks. What is done to connections is written as `ridegate-faults` has it.
#[derive(Debug, Clone, Copy)]
pub enum Break {
    /// Every connection to it, as they stand and come.
    Wire(&'static str),
    /// It behaves so itself.
    Feels(Mood),
    /// Redis is told these, and these make it well.
    Told(&'static [&'static [&'static str]], &'static [&'static [&'static str]]),
    /// Redis is told this again and again.
    ToldOften(&'static [&'static str]),
    /// What the gateway keeps of accounts is of another type.
    OtherType,
    /// Slots that are in use go from node to node.
    SlotsMove,
    /// The master is killed, and another elected.
    MasterDies,
    /// A node is killed, and started again.
    NodeDies,
    /// PostgreSQL is told these, and these make it well; `DB` is the database.
    Sql(&'static [&'static str], &'static [&'static str]),
    /// PostgreSQL is told this again and again.
    SqlOften(&'static str),
    /// PostgreSQL is killed, and started again.
    ServerDies,
}

/// Redis as one server, or as more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    One,
    Sentinel,
    Cluster,
}

/// How often something is so while it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Never,
    Sometimes,
    Always,
}

use How::{Always, Never, Sometimes};

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub name: &'static str,
    pub who: Upstream,
    /// For the table.
    pub what: &'static str,
    pub how: Break,
    pub form: Form,
    /// Broken before the gateway starts.
    pub from_start: bool,
    /// How often whoever needs it is `LOOKUP_FAILED`.
    pub fails: How,
    /// How often whoever can do without it is told so.
    pub says: How,
    /// How often the metric says that it is away, and the log.
    pub tells: How,
    /// So long may it take until that is so, in milliseconds.
    pub grace: u64,
    /// And so long until nothing is degraded any more when it is over.
    pub back: u64,
    /// What bytes arrive as others needs TLS, as in production.
    pub secure: bool,
    /// In `make test` too.
    pub slice: bool,
}

impl Cell {
    pub fn of(name: &str) -> Self {
        *CELLS.iter().find(|cell| cell.name == name).expect("a cell of this name")
    }
}

/// Nothing can be had from it.
const fn whole(name: &'static str, who: Upstream, what: &'static str, how: Break) -> Cell {
    let grace = match who {
        Redis => 500,
        // Five of its codes in a row have to fail.
        Resolver => 1_500,
        // Links are taken for true for a second more; facts as `facts.unwatched_max` says.
        Registry | Authority => 1_700,
    };
    Cell {
        name,
        who,
        what,
        how,
        form: Form::One,
        from_start: false,
        fails: Always,
        says: Always,
        tells: Always,
        grace,
        back: 3_000,
        secure: false,
        slice: false,
    }
}

/// Something can be had from it, now and then.
const fn partly(name: &'static str, who: Upstream, what: &'static str, how: Break) -> Cell {
    Cell { fails: Sometimes, says: Sometimes, tells: Sometimes, ..whole(name, who, what, how) }
}

/// It is slower, or in disorder, and nobody notices.
const fn unnoticed(name: &'static str, who: Upstream, what: &'static str, how: Break) -> Cell {
    Cell { fails: Never, says: Never, tells: Never, grace: 0, ..whole(name, who, what, how) }
}

const fn in_slice(cell: Cell) -> Cell {
    Cell { slice: true, ..cell }
}

/// Nobody has heard of it for three seconds, and then facts are believed for one.
const fn silent(cell: Cell) -> Cell {
    Cell { grace: 4_500, ..cell }
}

/// It answers questions wrongly, and tells of changes all the same: what is remembered stays true.
const fn still_followed(cell: Cell) -> Cell {
    Cell { says: Never, tells: Never, ..cell }
}

const fn from_start(cell: Cell) -> Cell {
    Cell { from_start: true, says: Sometimes, tells: Always, ..cell }
}

const fn secure(cell: Cell) -> Cell {
    Cell { secure: true, ..cell }
}

const fn at(form: Form, cell: Cell) -> Cell {
    Cell { form, ..cell }
}

use Break::{
    Feels, MasterDies, NodeDies, OtherType, ServerDies, SlotsMove, Sql, SqlOften, Told, ToldOften, Wire,
};

pub const CELLS: &[Cell] = &[
    in_slice(whole("redis_refused", Redis, "refused", Wire("refuse"))),
    in_slice(whole("redis_stalled", Redis, "stalled", Wire("stall"))),
    unnoticed("redis_slow_inside", Redis, "slow, 10 ms: inside its cap", Wire("latency=10ms")),
    whole("redis_slow", Redis, "slow, 100 ms", Wire("latency=100ms jitter=20ms")),
    in_slice(whole("redis_reset", Redis, "reset", Wire("reset"))),
    partly("redis_reset_in_answers", Redis, "reset within answers", Wire("reset=700")),
    whole("redis_half_closed", Redis, "half closed", Wire("half-close")),
    partly("redis_dripping", Redis, "1,000 bytes a second", Wire("drip=1000")),
    partly("redis_corrupt", Redis, "wrong answers: one byte in 500", Wire("corrupt=500")),
    whole(
        "redis_full",
        Redis,
        "out of memory (OOM)",
        Told(&[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]]),
    ),
    whole(
        "redis_read_only",
        Redis,
        "a replica (READONLY)",
        Told(&[&["REPLICAOF", "127.0.0.1", "1"]], &[&["REPLICAOF", "NO", "ONE"]]),
    ),
    whole(
        "redis_auth_lost",
        Redis,
        "password changed (WRONGPASS)",
        Told(
            &[&["ACL", "SETUSER", "gate", "resetpass", ">another"], &["CLIENT", "KILL", "USER", "gate"]],
            &[&["ACL", "SETUSER", "gate", "resetpass", ">secret"]],
        ),
    ),
    whole(
        "redis_forbidden",
        Redis,
        "permission lost (NOPERM)",
        Told(&[&["ACL", "SETUSER", "gate", "-eval", "-evalsha"]], &[&["ACL", "SETUSER", "gate", "+@all"]]),
    ),
    unnoticed("redis_wrong_type", Redis, "wrong type (WRONGTYPE)", OtherType),
    unnoticed("redis_script_lost", Redis, "scripts lost (NOSCRIPT)", ToldOften(&["SCRIPT", "FLUSH"])),
    at(Form::Cluster, unnoticed("redis_slots_move", Redis, "Cluster, slots move (MOVED, ASK)", SlotsMove)),
    at(Form::Cluster, partly("redis_node_dies", Redis, "Cluster, a node dies and comes back", NodeDies)),
    at(Form::Cluster, partly("redis_cluster_failover", Redis, "Cluster, failover", MasterDies)),
    at(Form::Sentinel, partly("redis_sentinel_failover", Redis, "Sentinel, failover", MasterDies)),
    Cell { says: Always, ..from_start(whole("redis_absent", Redis, "absent at the start", Wire("refuse"))) },
    whole("registry_refused", Registry, "refused", Wire("refuse")),
    in_slice(whole("registry_stalled", Registry, "stalled", Wire("stall"))),
    unnoticed("registry_slow_inside", Registry, "slow, 5 ms: inside its cap", Wire("latency=5ms")),
    Cell {
        says: Sometimes,
        tells: Sometimes,
        ..whole("registry_slow", Registry, "slow, 100 ms", Wire("latency=100ms jitter=20ms"))
    },
    whole("registry_reset", Registry, "reset", Wire("reset")),
    whole("registry_half_closed", Registry, "half closed", Wire("half-close")),
    secure(partly("registry_corrupt", Registry, "corrupt: one byte in 500, with TLS", Wire("corrupt=500"))),
    in_slice(whole("registry_dies", Registry, "killed and started again", ServerDies)),
    partly("registry_backends_die", Registry, "its processes are terminated", SqlOften(TERMINATE)),
    whole(
        "registry_full",
        Registry,
        "out of connections",
        Sql(&["ALTER ROLE gate CONNECTION LIMIT 0", TERMINATE], &["ALTER ROLE gate CONNECTION LIMIT -1"]),
    ),
    Cell {
        fails: Sometimes,
        says: Never,
        tells: Sometimes,
        ..whole(
            "registry_read_only",
            Registry,
            "read-only",
            Sql(
                &["ALTER DATABASE DB SET default_transaction_read_only = on", TERMINATE],
                &["ALTER DATABASE DB RESET default_transaction_read_only", TERMINATE],
            ),
        )
    },
    from_start(whole("registry_absent", Registry, "absent at the start", Wire("refuse"))),
    in_slice(whole("authority_refused", Authority, "refused", Wire("refuse"))),
    silent(whole("authority_stalled", Authority, "stalled", Wire("stall"))),
    unnoticed("authority_slow_inside", Authority, "slow, 30 ms: inside its cap", Wire("latency=30ms")),
    still_followed(whole("authority_slow", Authority, "slow, 200 ms", Wire("latency=200ms jitter=20ms"))),
    whole("authority_reset", Authority, "reset", Wire("reset")),
    silent(whole("authority_half_closed", Authority, "half closed", Wire("half-close"))),
    silent(partly("authority_dripping", Authority, "200 bytes a second", Wire("drip=200"))),
    secure(partly("authority_corrupt", Authority, "corrupt: one byte in 200, with TLS", Wire("corrupt=200"))),
    in_slice(still_followed(whole(
        "authority_wrong",
        Authority,
        "answers against its contract",
        Feels(Mood::Confused),
    ))),
    whole("authority_unavailable", Authority, "UNAVAILABLE", Feels(Mood::Unavailable)),
    whole("authority_exhausted", Authority, "RESOURCE_EXHAUSTED", Feels(Mood::Exhausted)),
    Cell {
        tells: Sometimes,
        ..unnoticed("authority_hiccups", Authority, "UNAVAILABLE once in a while", Feels(Mood::Hiccup))
    },
    from_start(whole("authority_absent", Authority, "absent at the start", Wire("refuse"))),
    in_slice(whole("resolver_refused", Resolver, "refused", Wire("refuse"))),
    in_slice(whole("resolver_stalled", Resolver, "stalled", Wire("stall"))),
    whole("resolver_slow", Resolver, "slow, 200 ms", Wire("latency=200ms jitter=20ms")),
    whole("resolver_reset", Resolver, "reset", Wire("reset")),
    Cell {
        tells: Sometimes,
        ..whole("resolver_wrong", Resolver, "answers against its contract", Feels(Mood::Confused))
    },
    secure(partly("resolver_corrupt", Resolver, "corrupt: one byte in 200, with TLS", Wire("corrupt=200"))),
    whole("resolver_unavailable", Resolver, "UNAVAILABLE", Feels(Mood::Unavailable)),
    from_start(whole("resolver_absent", Resolver, "absent at the start", Wire("refuse"))),
];

const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'";
