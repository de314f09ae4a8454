//! What is personal is sealed before it is written, and gone with its key.
//!
//! `cargo run --example 13_personal_data --features personal`

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Disclosure, FileKeys, Forgotten, Personal};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "user.registered", topic = "users", key = user)]
struct UserRegistered {
    user: String,
    #[event(personal = user)]
    email: Personal<String>,
}

/// Keeps nothing, and has to cope with people who were forgotten.
async fn welcome(event: UserRegistered) {
    match event.email.disclosure() {
        Disclosure::Known(email) => println!("a letter to {email}"),
        Disclosure::Masked => println!("{} has an address that we may not see", event.user),
        Disclosure::Forgotten => println!("{} was forgotten", event.user),
    }
}

/// Keeps copies elsewhere: so it takes `Forgotten`, and forgetting waits for it.
async fn forget_copies(Forgotten { subject }: Forgotten) {
    println!("removing the copies of {subject}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = FileKeys::open("./data/personal-keys")?; // never beside the log, nor in its backups
    let engine = Engine::open("embedded:./data/personal")
        .await?
        .with_keys(keys)?;
    let user = format!("u-{}", std::process::id());
    let email = "ada@example.org".to_owned().into();
    let registered = UserRegistered {
        user: user.clone(),
        email,
    };
    let at = engine.publish(registered).await?.position;

    let app = App::new(engine.clone())
        .on("letters", welcome)
        .on("index", forget_copies);
    let mut running = app.start().await?;
    running.settled().await?;
    let stored = engine
        .last("users", &user)
        .await?
        .ok_or("it was published")?;
    println!(
        "at {at} the log has {}",
        String::from_utf8_lossy(stored.envelope.payload())
    );

    let receipt = engine.forget(&user, Duration::from_secs(10)).await?;
    println!("{receipt:?}");
    let mut event: UserRegistered = stored.envelope.decode()?;
    engine.unmask_event(&mut event).await?;
    welcome(event).await;
    running.stop().await?;
    Ok(())
}
