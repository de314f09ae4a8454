//! The kinds of engines that there are, compiled in or not: what URL errors list, and the registry
//! of engines adds code to.

/// One kind of engine: how its URLs begin.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// What stands before the first `:`.
    pub name: &'static str,
    /// A URL as people write it.
    pub example: &'static str,
}

impl Scheme {
    /// A log in a directory.
    pub const EMBEDDED: Self = Self::new("embedded", "embedded:./data");
    /// A log in memory.
    pub const MEMORY: Self = Self::new("memory", "memory:");
    /// NATS JetStream.
    pub const NATS: Self = Self::new("nats", "nats://localhost:4222");
    /// Apache Kafka.
    pub const KAFKA: Self = Self::new("kafka", "kafka://localhost:9092");
    /// RabbitMQ streams.
    pub const RABBITMQ: Self = Self::new("amqp", "amqp://guest:guest@localhost:5672");
    /// Redis streams.
    pub const REDIS: Self = Self::new("redis", "redis://localhost:6379");
    /// PostgreSQL.
    pub const POSTGRES: Self = Self::new("postgres", "postgres://ensue@localhost:5432/ensue");
    /// What another process serves.
    pub const REMOTE: Self = Self::new("ensue", "ensue://localhost:3678");

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EMBEDDED,
        Self::MEMORY,
        Self::NATS,
        Self::KAFKA,
        Self::RABBITMQ,
        Self::REDIS,
        Self::POSTGRES,
        Self::REMOTE,
    ];

    const fn new(name: &'static str, example: &'static str) -> Self {
        Self { name, example }
    }
}

/// The URLs that there are, for those who wrote another.
pub(super) fn known_schemes() -> String {
    let examples = Scheme::ALL.map(|scheme| format!("`{}`", scheme.example));
    examples.join(", ")
}
