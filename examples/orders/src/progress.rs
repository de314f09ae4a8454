//! How far the run is, for people at a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{bar:40.cyan/blue} {pos}/{len} orders  {msg}  {elapsed}";

/// A bar on stderr; nothing when that is not a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// The progress of `orders` orders.
    pub fn new(orders: usize, is_hidden: bool) -> Self {
        let bar = ProgressBar::new(orders as u64);
        if is_hidden {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // The template is a constant: at the worst the bar looks plain.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Shows how many orders are through. Every event that waits belongs to an order that is not,
    /// so that at least `placed - waiting` are.
    pub fn show(&self, placed: u64, waiting: u64, events: u64) {
        self.0.set_position(placed.saturating_sub(waiting));
        self.0.set_message(format!("{events} events"));
    }

    /// Makes room for what comes next.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
