//! `torture stops`: no input, no return value, no limit, no panic and no clock may stop a group in
//! silence.
//!
//! A seed makes an app, events that say how their handlers misbehave, and what operators do at the
//! same time. Then time passes, and every event must be accounted for. Then the misbehaviour ends, what is
//! dead is redriven, and every event must have been handled that can be read.

mod act;
mod event;
mod odd;
mod oracle;
mod plan;
mod user;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use self::act::Act;
use self::plan::{Plan, Size};
use self::world::Place;

/// Let handlers misbehave in every way and look for groups that stopped in silence
#[derive(Args, Debug)]
#[command(
    after_help = "To make a failure smaller, repeat its seed with fewer --events, --steps or --groups, with
--only one act, or --without those that do not matter.

Examples:
  torture stops --seconds 60
  torture stops --seed 7 --runs 1 --print
  torture stops --seed 7 --runs 1 --only cancel-and-schedule --groups 1
  torture stops --url nats://localhost:4222 --runs 5"
)]
pub(crate) struct Stops {
    /// What the first run derives from; the next ones count on from it. Random if left out
    #[arg(long)]
    seed: Option<u64>,
    /// How many runs
    #[arg(long, default_value_t = 40, conflicts_with = "seconds")]
    runs: u64,
    /// As many runs as fit into so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// At most so many groups, 1 to 4
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    groups: u8,
    /// At most so many events in a run
    #[arg(long, default_value_t = 400)]
    events: usize,
    /// At most so many things that operators do in a run
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Only these acts and good behaviour
    #[arg(long, value_delimiter = ',')]
    only: Vec<Act>,
    /// Everything but these acts
    #[arg(long, value_delimiter = ',')]
    without: Vec<Act>,
    /// A server's log instead of a directory: in real time, each run in a namespace of its own
    #[arg(long)]
    url: Option<String>,
    /// Go on after a failure; all are listed at the end
    #[arg(long)]
    keep_going: bool,
    /// Print each plan
    #[arg(long)]
    print: bool,
}

impl Stops {
    pub(crate) fn run(self) -> ExitCode {
        odd::hush_deliberate_panics();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
        let begun = Instant::now();
        let until = self.seconds.map(|it| begun + Duration::from_secs(it));
        let (mut runs, mut events, mut failed) = (0, 0, Vec::new());
        while until.map_or(runs < self.runs, |until| Instant::now() < until) {
            let seed = seed.wrapping_add(runs);
            runs += 1;
            let plan = Plan::of(seed, &self.size());
            if self.print {
                println!("{plan:#?}");
            }
            events += plan.events();
            if let Err(complaint) = world::play(&plan, &self.place(seed)) {
                eprintln!("torture stops --seed {seed} --runs 1 failed:\n{complaint}");
                failed.push(seed);
                if !self.keep_going {
                    break;
                }
            }
        }
        let took = begun.elapsed().as_secs_f64();
        let all = format!("{runs} runs from seed {seed} on, {events} events, in {took:.1} s");
        if failed.is_empty() {
            println!("{all}: nothing stopped in silence");
            return ExitCode::SUCCESS;
        }
        println!("{all}: failed with {failed:?}");
        ExitCode::FAILURE
    }

    fn size(&self) -> Size {
        let is_wanted = |act: &Act| {
            (self.only.is_empty() || self.only.contains(act)) && !self.without.contains(act)
        };
        Size {
            groups: self.groups.into(),
            events: self.events.max(1),
            steps: self.steps,
            acts: Act::all().filter(is_wanted).collect(),
            is_real: self.url.is_some(),
        }
    }

    fn place(&self, seed: u64) -> Place {
        match &self.url {
            None => Place::Directory,
            Some(url) => {
                let separator = if url.contains('?') { '&' } else { '?' };
                let unique = fastrand::u32(..);
                Place::Server(format!("{url}{separator}namespace=stops-{seed}-{unique}"))
            }
        }
    }
}
