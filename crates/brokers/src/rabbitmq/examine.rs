//! What a RabbitMQ server is like, for `ensue doctor`.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use tokio::time::Instant;

use super::first_message::FirstMessage;
use super::link::{Link, answered};
use crate::error::Result;
use crate::shared_log::{Finding, Server};

/// How long a server that takes messages may need for one that goes nowhere.
const PROBE: Duration = Duration::from_secs(2);

/// What publishing came to.
pub(super) enum Publishing {
    Works,
    Blocked(String),
}

/// Publishes a message that goes nowhere: the rights are checked all the same.
pub(super) async fn publishing(
    link: &Link,
    server: &Server,
    queue: &str,
    until: Instant,
) -> Result<Publishing> {
    let channel = link.channel(server, until).await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    answered(server, until, confirms).await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    // Queues of this name are never made: namespaces have no dots.
    let nowhere = format!("{queue}.nowhere");
    let properties = BasicProperties::default();
    let publishing = async {
        let published = channel.basic_publish(
            "".into(),
            nowhere.as_str().into(),
            options,
            b"?",
            properties,
        );
        published.await?.await
    };
    let by = until.min(Instant::now() + PROBE);
    let answer = answered(server, by, publishing).await;
    match (answer, link.blocked()) {
        (_, Some(reason)) => Ok(Publishing::Blocked(reason)),
        (Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_)), None) => Ok(Publishing::Works),
        (Ok(_), None) => Err(server.unavailable("it takes messages that go nowhere")),
        (Err(error), None) => Err(error),
    }
}

pub(super) async fn findings(
    link: &Link,
    server: &Server,
    queue: &str,
    until: Instant,
) -> Result<Vec<Finding>> {
    let first = FirstMessage::find_or_append(link, server, queue, until).await?;
    let publishing = publishing(link, server, queue, until).await?;
    Ok(vec![
        version(link),
        durability(),
        replication(queue),
        Finding::well(
            "permissions",
            "the user may configure, write and read what the log needs",
        ),
        space(&publishing),
        retention(&first),
        Finding::well(
            "clock",
            "the server does not tell its time; schedules go by the clocks of the processes",
        ),
    ])
}

fn version(link: &Link) -> Finding {
    let properties = &link.properties;
    let of = match properties.cluster.as_str() {
        "" => String::new(),
        cluster => format!(", cluster `{cluster}`"),
    };
    let found = format!(
        "{} {} on {}{of}",
        properties.product, properties.version, properties.platform
    );
    Finding::well("version", found)
}

fn durability() -> Finding {
    Finding::weak(
        "durability",
        "a stream's messages are acknowledged from the operating system's page cache",
        "what was acknowledged survives the end of the server's process, but not a power cut of \
         the machines that hold it",
        "have three nodes in places with power of their own, or an engine that syncs",
    )
}

fn replication(queue: &str) -> Finding {
    Finding::weak(
        "replication",
        "AMQP 0.9.1 does not tell how many nodes hold a stream",
        "with one node alone, what was acknowledged is lost with its disk",
        format!(
            "`rabbitmq-streams stream_status {queue}` shows the replicas; `replicas=3` in the URL \
             asks for three when the log is made"
        ),
    )
}

fn space(publishing: &Publishing) -> Finding {
    match publishing {
        Publishing::Works => Finding::well("space", "the server takes messages"),
        Publishing::Blocked(reason) => Finding::weak(
            "space",
            format!("the server takes no messages: {reason}"),
            "nothing can be appended",
            "free memory or disk, or raise the server's limits",
        ),
    }
}

fn retention(first: &FirstMessage) -> Finding {
    match first.offset {
        0 => Finding::well("retention", "the log is there from its first message on"),
        offset => Finding::weak(
            "retention",
            format!("the server has removed the messages before {offset}"),
            "new processes cannot read the log from its beginning",
            "remove the policy that limits the stream's age or size (`rabbitmqctl \
             list_policies`), and begin a new log",
        ),
    }
}
