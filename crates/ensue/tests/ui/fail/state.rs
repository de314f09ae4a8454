use ensue::prelude::*;

#[derive(State, Serialize, Deserialize)]
struct Nameless;

#[derive(State, Serialize, Deserialize)]
#[state(name = "Two Words", verzion = 2)]
struct TwoWords;

#[derive(State, Serialize, Deserialize)]
#[state(name = "one")]
struct One;

#[derive(State, Serialize, Deserialize)]
#[state(name = "two", version = 2, previous = One)]
struct OfAnotherName;

#[derive(State, Serialize, Deserialize)]
#[state(name = "one", version = 2, previous = One)]
struct NotConverted;

impl From<One> for OfAnotherName {
    fn from(_: One) -> Self {
        Self
    }
}

fn main() {}
