//! Sensors on Ensue: devices that publish over MQTT, services that keep what they measure, and commands that go
//! back to a device.
//!
//! Read it in this order: [`world`] is what is measured, [`mqtt`] how it is said, [`devices`] are those who say it;
//! [`events`] are what becomes of it in the log, [`services`] who says that and why, [`store`] the tables, and
//! [`calibration`] a job that only one may do at a time.

pub mod events;
pub mod mqtt;
pub mod services;
pub mod store;
pub mod world;

pub mod broker;
pub mod calibration;
pub mod devices;
pub mod ingestion;

pub mod cli;
pub mod error;
pub mod home;
pub mod query;
pub mod report;
pub mod run;
pub mod summary;
pub mod system;
