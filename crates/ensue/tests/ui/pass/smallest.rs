use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "day.ended", topic = "days")]
struct DayEnded;

struct Calendar;

#[service]
impl Calendar {
    #[on]
    async fn turn_page(&self, _: DayEnded) {}
}

fn main() {
    assert_eq!(Calendar::NAME, "calendar");
}
