//! Made-up users, over HTTPS, each with a life of its own.

mod client;
mod figures;
mod letters;
mod life;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::client::Client;
use self::letters::Letters;
use self::life::Life;

pub use self::figures::{Figures, Loaded};

/// How many users do something at a time.
const AT_ONCE: usize = 32;

/// What to do.
#[derive(Clone)]
pub struct Load {
    /// Where the service is.
    pub address: SocketAddr,
    /// What encrypts connections to it.
    pub config: Arc<ClientConfig>,
    /// How many users there are.
    pub users: u32,
    /// What they are made of: another seed, other users.
    pub seed: u64,
    /// How long one request is tried again and again, while the service is away.
    pub patience: Duration,
}

impl Load {
    /// Has all users live, and then asks for what they were told: what is not there is lost.
    ///
    /// # Errors
    /// What a user could not do, and why.
    pub async fn run(&self, mail: &Path) -> Result<Loaded, String> {
        let started = Instant::now();
        let letters = Letters::start(mail);
        let figures = Arc::new(Figures::default());
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut living = JoinSet::new();
        for number in 0..self.users {
            let client = || self.client(number, &figures);
            let life = Life::new([client(), client()], letters.clone(), self.seed, number);
            let mut life = life.map_err(|error| error.to_string())?;
            let turns = turns.clone();
            living.spawn(async move {
                // The semaphore is never closed.
                let _turn = turns.acquire_owned().await;
                let lived = life.live().await;
                lived.map_err(|problem| format!("user {number}: {problem}"))?;
                Ok::<_, String>(life)
            });
        }
        let mut lives = Vec::new();
        while let Some(life) = living.join_next().await {
            lives.push(life.map_err(|error| error.to_string())??);
        }
        let took = started.elapsed();
        let mut lost = Vec::new();
        for life in &mut lives {
            lost.extend(life.ask_again().await?);
        }
        let doubled = lives.iter().filter(|life| life.is_raced()).count();
        Ok(figures.loaded(self.users, doubled as u64, lost, took))
    }

    fn client(&self, number: u32, figures: &Arc<Figures>) -> Client {
        Client::new(
            self.address,
            self.config.clone(),
            number,
            self.patience,
            figures.clone(),
        )
    }
}
