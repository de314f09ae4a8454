//! A user account system on Ensue.
//!
//! Read it in this order: [`events`] are what is said, [`domain`] decides what may happen,
//! [`services`] do what follows, [`operations`] are what users ask for, [`http`] is how they ask,
//! [`load`] makes users up. [`security`] watches log-ins, ours and in [`replay`] those that were
//! recorded elsewhere.

#![allow(clippy::disallowed_types, reason = "it serves HTTPS, and asks for it")]

pub mod domain;
pub mod email;
pub mod events;
pub mod http;
pub mod https;
pub mod ids;
pub mod replay;
pub mod secrets;
pub mod security;
pub mod text;

pub mod mail;
pub mod operations;
pub mod services;
pub mod view;

pub mod accounts;
pub mod check;
pub mod cli;
pub mod error;
pub mod home;
pub mod load;
pub mod report;
pub mod run;
pub mod site;
