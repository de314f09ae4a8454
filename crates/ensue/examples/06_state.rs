//! State that a service keeps per key: committed with the position, so it is never ahead of it or
//! behind it.
//!
//! `cargo run --example 06_state`

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "sensor.read", topic = "sensors.{hall}", key = device)]
struct SensorRead {
    hall: String,
    device: String,
    celsius: f64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "alarm.raised", topic = "alarms", key = device)]
struct AlarmRaised {
    device: String,
    rise: f64,
}

/// What the service remembers of each device: of each topic and key.
#[derive(State, Serialize, Deserialize)]
#[state(name = "last-reading")]
struct LastReading {
    celsius: f64,
}

struct Alarms;

#[service]
impl Alarms {
    #[on]
    async fn watch(&self, read: SensorRead, context: &Context) -> Result<Effects, Failure> {
        let last: Option<LastReading> = context.state().await?;
        let effects = Effects::none().set_state(LastReading {
            celsius: read.celsius,
        });
        match last {
            Some(last) if read.celsius - last.celsius > 10.0 => Ok(effects.publish(AlarmRaised {
                device: read.device,
                rise: read.celsius - last.celsius,
            })),
            _ => Ok(effects),
        }
    }

    #[on]
    async fn ring(&self, alarm: AlarmRaised) {
        println!("{} rose by {:.1} degrees", alarm.device, alarm.rise);
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let mut app = App::new(engine.clone()).service(Alarms).start().await?;
    let gateway = app.publisher("/gateway");
    for (device, celsius) in [
        ("oven", 20.0),
        ("fridge", 4.0),
        ("oven", 45.5),
        ("fridge", 5.0),
    ] {
        let read = SensorRead {
            hall: "kitchen".into(),
            device: device.into(),
            celsius,
        };
        gateway.publish(read).await?;
    }
    app.settled().await?;
    app.stop().await?;
    engine.close().await
}
