//! JetStream publishes that do not wait for each other; a durable consumer whose acknowledgements
//! cover everything before them.

use async_nats::jetstream::consumer::pull::{Config as Pull, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context, Message};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{Client, Reader};
use crate::Outcome;

/// What the server sends ahead, as the engine lets it.
const AHEAD: usize = 4096;

struct Nats {
    url: String,
    context: Context,
    stream: String,
    name: String,
}

struct Reading {
    messages: Messages,
    last: Option<Message>,
}

pub(super) async fn connect(url: String, name: String) -> Outcome<Box<dyn Client>> {
    let context = jetstream::new(async_nats::connect(&url).await?);
    let stream = format!("bench-{name}");
    let config = Config {
        name: stream.clone(),
        subjects: vec![stream.clone()],
        ..Config::default()
    };
    context.create_stream(config).await?;
    Ok(Box::new(Nats {
        url,
        context,
        stream,
        name,
    }))
}

impl Client for Nats {
    fn publish(&self, message: Bytes) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            let sent = self.context.publish(self.stream.clone(), message);
            sent.await?.await?;
            Ok(())
        })
    }

    fn reader(&self) -> BoxFuture<'_, Outcome<Box<dyn Reader>>> {
        Box::pin(async {
            let context = jetstream::new(async_nats::connect(&self.url).await?);
            let stream = context.get_stream(&self.stream).await?;
            let config = Pull {
                durable_name: Some("bench".to_owned()),
                ack_policy: AckPolicy::All,
                deliver_policy: DeliverPolicy::All,
                max_ack_pending: -1,
                ..Pull::default()
            };
            let consumer = stream.create_consumer(config).await?;
            let messages = consumer.stream().max_messages_per_batch(AHEAD);
            Ok(Box::new(Reading {
                messages: messages.messages().await?,
                last: None,
            }) as Box<dyn Reader>)
        })
    }

    fn remove(&self) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async {
            self.context.delete_stream(&self.stream).await?;
            // Not there when the engine has not run.
            let _ = self
                .context
                .delete_stream(format!("ensue-{}", self.name))
                .await;
            Ok(())
        })
    }
}

impl Reader for Reading {
    fn next(&mut self, messages_max: usize) -> BoxFuture<'_, Outcome<Vec<Bytes>>> {
        Box::pin(async move {
            let first = self.messages.next().await.ok_or("the consumer is gone")??;
            let mut bodies = vec![first.payload.clone()];
            self.last = Some(first);
            while bodies.len() < messages_max
                && let Some(Some(message)) = self.messages.next().now_or_never()
            {
                let message = message?;
                bodies.push(message.payload.clone());
                self.last = Some(message);
            }
            Ok(bodies)
        })
    }

    fn commit(&mut self) -> BoxFuture<'static, Outcome<()>> {
        let last = self.last.take();
        Box::pin(async move {
            match last {
                Some(message) => Ok(message.double_ack().await?),
                None => Ok(()),
            }
        })
    }
}
