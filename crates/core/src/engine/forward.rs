//! Engines around engines: what a wrapper leaves alone goes straight through.

/// Writes those methods of [`Driver`](super::Driver) that a wrapper leaves to the engine in its
/// field `$inner`: all but `append` and `join`, which are what wrappers are for, and
/// `vault` if that is said.
#[doc(hidden)]
#[macro_export]
macro_rules! forward_engine {
    ($inner:ident) => {
        $crate::forward_engine!($inner without vault);

        fn vault(&self) -> Option<&dyn $crate::engine::Vault> {
            self.$inner.vault()
        }
    };
    ($inner:ident without vault) => {
        fn url(&self) -> &str {
            self.$inner.url()
        }

        fn abandon(&self) {
            self.$inner.abandon();
        }

        fn guarantees(&self) -> &$crate::engine::Guarantees {
            self.$inner.guarantees()
        }

        fn clock(&self) -> &$crate::time::Clock {
            self.$inner.clock()
        }

        fn read(
            &self,
            query: $crate::engine::Query,
        ) -> $crate::BoxFuture<'_, $crate::error::Result<$crate::engine::Page>> {
            self.$inner.read(query)
        }

        fn last<'a>(
            &'a self,
            topic: &'a str,
            key: &'a str,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<Option<$crate::engine::Recorded>>> {
            self.$inner.last(topic, key)
        }

        fn progress<'a>(
            &'a self,
            group: &'a str,
            position: $crate::engine::Position,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<$crate::engine::EventProgress>> {
            self.$inner.progress(group, position)
        }

        fn wait(
            &self,
            cursor: $crate::engine::Cursor,
        ) -> $crate::BoxFuture<'_, $crate::error::Result<()>> {
            self.$inner.wait(cursor)
        }

        fn cancel(
            &self,
            names: Vec<$crate::event::EventId>,
        ) -> $crate::BoxFuture<'_, $crate::error::Result<usize>> {
            self.$inner.cancel(names)
        }

        fn scheduled(
            &self,
            limit: usize,
        ) -> $crate::BoxFuture<'_, $crate::error::Result<Vec<$crate::engine::Scheduled>>> {
            self.$inner.scheduled(limit)
        }

        fn state<'a>(
            &'a self,
            group: &'a str,
            topic: &'a str,
            key: &'a str,
            name: &'a str,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<Option<$crate::Bytes>>> {
            self.$inner.state(group, topic, key, name)
        }

        fn states<'a>(
            &'a self,
            group: &'a str,
            topic: &'a str,
            name: &'a str,
            after: Option<&'a str>,
            limit: usize,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<Vec<(String, $crate::Bytes)>>> {
            self.$inner.states(group, topic, name, after, limit)
        }

        fn dead_letters<'a>(
            &'a self,
            group: Option<&'a str>,
            filter: $crate::engine::DeadLetterFilter,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<Vec<$crate::engine::DeadLetter>>> {
            self.$inner.dead_letters(group, filter)
        }

        fn redrive<'a>(
            &'a self,
            group: &'a str,
            filter: $crate::engine::DeadLetterFilter,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<usize>> {
            self.$inner.redrive(group, filter)
        }

        fn discard<'a>(
            &'a self,
            group: &'a str,
            filter: $crate::engine::DeadLetterFilter,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<usize>> {
            self.$inner.discard(group, filter)
        }

        fn reset<'a>(
            &'a self,
            group: &'a str,
            reset: $crate::engine::Reset,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<$crate::engine::ResetPlan>> {
            self.$inner.reset(group, reset)
        }

        fn plan_reset<'a>(
            &'a self,
            group: &'a str,
            reset: $crate::engine::Reset,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<$crate::engine::ResetPlan>> {
            self.$inner.plan_reset(group, reset)
        }

        fn delete_group<'a>(
            &'a self,
            group: &'a str,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<()>> {
            self.$inner.delete_group(group)
        }

        fn health(&self) -> $crate::BoxFuture<'_, $crate::error::Result<$crate::engine::Health>> {
            self.$inner.health()
        }

        fn group<'a>(
            &'a self,
            name: &'a str,
        ) -> $crate::BoxFuture<'a, $crate::error::Result<$crate::engine::GroupStatus>> {
            self.$inner.group(name)
        }

        fn status(
            &self,
        ) -> $crate::BoxFuture<'_, $crate::error::Result<$crate::engine::EngineStatus>> {
            self.$inner.status()
        }

        fn close(&self) -> $crate::BoxFuture<'_, $crate::error::Result<()>> {
            self.$inner.close()
        }
    };
}
