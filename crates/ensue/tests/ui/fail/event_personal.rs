//! What is personal is a field of a struct, and another field says whose it is.

use ensue::Personal;
use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "user.registered", topic = "users")]
struct Slip {
    user: String,
    #[event(personal = usr)]
    email: Personal<String>,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "user.registered", topic = "users")]
struct Unsaid {
    #[event(personal)]
    email: Personal<String>,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "user.changed", topic = "users")]
enum Changed {
    Email {
        user: String,
        #[event(personal = user)]
        email: Personal<String>,
    },
}

fn main() {}
