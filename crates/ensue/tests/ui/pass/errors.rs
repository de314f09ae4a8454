//! A handler may return any error, and takes its context by value or by reference.
#![deny(warnings)]

use std::fmt;

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "orders")]
struct OrderPaid;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

struct InAnyhow;

#[service]
impl InAnyhow {
    #[on]
    async fn on(&self, _: OrderCreated, context: Context) -> anyhow::Result<OrderPaid> {
        let _: u32 = context.key().parse()?;
        let _: u32 = context.key().parse().or_reject()?;
        Err(anyhow::anyhow!("no"))?;
        anyhow::bail!(Rejection::new("never"))
    }
}

struct InBox;

#[service]
impl InBox {
    #[on(blocking)]
    fn on(&self, _: OrderCreated, context: Context) -> Result<Option<OrderPaid>, Boxed> {
        let _: u32 = context.key().parse()?;
        let _: u32 = context.key().parse().or_reject()?;
        Err("no")?
    }
}

struct InText;

#[service]
impl InText {
    #[on]
    async fn on(&self, _: OrderCreated) -> Result<Vec<OrderPaid>, String> {
        Err(format!("no"))
    }
}

struct InFailure;

#[service]
impl InFailure {
    #[on]
    async fn on(&self, _: OrderCreated, context: &Context) -> Result<(OrderPaid, OrderPaid), Failure> {
        let _: u32 = context.key().parse()?;
        let _: u32 = context.key().parse().or_reject()?;
        let boxed: Result<(), Boxed> = Ok(());
        boxed?;
        let anyhow: anyhow::Result<()> = Ok(());
        anyhow?;
        let text: Result<(), String> = Ok(());
        text?;
        let text: Result<(), &str> = Ok(());
        text?;
        let own: Result<(), Own> = Ok(());
        own?;
        Err(Failure::reject("never"))
    }
}

#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("own")
    }
}

impl std::error::Error for Own {}

struct InOwn;

#[service]
impl InOwn {
    #[on]
    async fn on(&self, _: OrderCreated) -> Result<(), Own> {
        Err(Own)
    }
}

/// Knows by itself whether trying again may help.
struct Knowing;

impl From<Knowing> for Failure {
    fn from(_: Knowing) -> Self {
        Self::reject("never")
    }
}

struct InKnowing;

#[service]
impl InKnowing {
    #[on]
    async fn on(&self, _: OrderCreated) -> Result<(), Knowing> {
        Err(Knowing)
    }
}

fn main() {
    // What is said in the functions above is checked when they compile.
    let _ = (InAnyhow, InBox, InText, InFailure, InOwn, InKnowing);
}
