//! Breaking things, and mending them.

use ridegate_sim::authority::Mood;
use tokio::task::block_in_place;

use super::{
    cells::{Break, Cell, Upstream},
    stand::{Stand, Store},
};
use crate::redis::Redis;

impl Cell {
    pub const fn has_a_replica(&self) -> bool {
        matches!(self.how, Break::MasterDies)
    }
}

impl Stand {
    pub fn break_it(&mut self, cell: &Cell) {
        block_in_place(|| match cell.how {
            Break::Wire(fault) => self.wires[&cell.who].set(fault.parse().unwrap()),
            Break::Feels(mood) => self.feel(cell.who, mood),
            Break::Told(spoil, _) => self.tell_redis(spoil),
            Break::Sql(begin, _) => self.tell_postgres(begin),
            Break::ToldOften(_) | Break::SqlOften(_) | Break::SlotsMove => self.break_it_again(cell),
            Break::OtherType => self.retype("redis.call('SET', key, 'x')"),
            Break::NodeDies | Break::MasterDies => match &mut self.redis {
                Store::Cluster(cluster) => cluster.servers[0].kill(),
                Store::Sentinel(sentinel) => sentinel.servers[0].kill(),
                Store::One(redis) => redis.kill(),
            },
            Break::ServerDies => self.postgres.as_mut().unwrap().0.kill(),
        });
    }

    /// What breaks for a moment only is broken again.
    pub fn break_it_again(&self, cell: &Cell) {
        block_in_place(|| match cell.how {
            Break::ToldOften(command) => self.tell_redis(&[command]),
            Break::SqlOften(sql) => self.tell_postgres(&[sql]),
            Break::SlotsMove => self.move_a_slot(),
            Break::Feels(Mood::Hiccup) => self.feel(cell.who, Mood::Hiccup),
            _ => {}
        });
    }

    /// Mends it. What mends itself is waited for.
    pub fn mend_it(&mut self, cell: &Cell) {
        block_in_place(|| match cell.how {
            Break::Wire(_) => self.wires[&cell.who].set("well".parse().unwrap()),
            Break::Feels(_) => self.feel(cell.who, Mood::Well),
            Break::Told(_, mend) => self.tell_redis(mend),
            Break::Sql(_, end) => self.tell_postgres(end),
            Break::ToldOften(_) | Break::SqlOften(_) | Break::SlotsMove => {}
            Break::OtherType => self.retype(""),
            Break::NodeDies => match &mut self.redis {
                Store::Cluster(cluster) => cluster.servers[0].restart(),
                Store::Sentinel(_) | Store::One(_) => {}
            },
            Break::MasterDies => match &self.redis {
                Store::Cluster(cluster) => cluster.elected(),
                Store::Sentinel(sentinel) => drop(sentinel.elected(1)),
                Store::One(_) => {}
            },
            Break::ServerDies => self.postgres.as_mut().unwrap().0.restart(),
        });
    }

    fn feel(&self, who: Upstream, mood: Mood) {
        match who {
            Upstream::Authority => self.authority.feel(mood),
            _ => self.resolver.feel(mood),
        }
    }

    fn one(&self) -> &Redis {
        let Store::One(redis) = &self.redis else { panic!("one server") };
        redis
    }

    fn tell_redis(&self, commands: &[&[&str]]) {
        for command in commands {
            let said = self.one().cli(command);
            assert!(said == "OK" || said.parse::<u32>().is_ok(), "{command:?}: {said}");
        }
    }

    fn tell_postgres(&self, statements: &[&str]) {
        let (server, name) = self.postgres.as_ref().unwrap();
        for statement in statements {
            server.sql("postgres", &statement.replace("DB", name));
        }
    }

    /// Accounts become of this type; or nothing, which they were before somebody asked for them.
    fn retype(&self, how: &str) {
        let script = format!(
            "local all = redis.call('KEYS', 'rg1:*:a') \
             for _, key in ipairs(all) do redis.call('DEL', key) {how} end return #all"
        );
        let many = self.one().cli(&["EVAL", &script, "0"]);
        assert!(many.parse::<u32>().is_ok_and(|many| many > 0), "nothing is kept of accounts: {many}");
    }

    fn move_a_slot(&self) {
        let Store::Cluster(cluster) = &self.redis else { panic!("a cluster") };
        let keys = cluster.scan();
        let Some(key) = keys.first() else { return };
        let slot = cluster.slot(key);
        cluster.move_slot(slot, (cluster.owner(slot) + 1) % 3);
    }
}
