//! An order management system on Ensue: six services, seven events, and a world outside that is
//! either generated or recorded.
//!
//! Read it in this order: [`events`] are what is said, [`services`] are who says it and why,
//! [`outside`] are those the services talk to, [`world`] is what really happens there.

pub mod events;
pub mod next;
pub mod outside;
pub mod services;
pub mod world;

pub mod cli;
pub mod error;
pub mod progress;
pub mod report;
mod rest;
pub mod run;
pub mod storefront;
pub mod summary;
