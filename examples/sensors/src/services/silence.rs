//! Silence: notices devices whose connection is gone and does not come back.

use std::time::Duration;

use ensue::Timestamp;
use ensue::prelude::*;

use crate::events::{AlarmCleared, AlarmKind, AlarmRaised, DeviceAsked, DeviceGone, DeviceMissed};

/// How long a device may be gone.
const GONE_MAX: Duration = Duration::from_secs(60);

/// `device.gone` → `device.missed`, in a minute, unless `device.asked` is there before, with which each connection
/// begins; `device.missed` → `alarm.raised`; then `device.asked` → `alarm.cleared`.
pub(super) struct Silence;

/// A device that is gone.
#[derive(State, Serialize, Deserialize)]
#[state(name = "gone")]
struct Gone {
    since: Timestamp,
    is_raised: bool,
}

fn timer(device: &str) -> String {
    format!("missed-{device}")
}

#[service]
impl Silence {
    #[on(on_dead = "skip", publishes = [DeviceMissed])]
    async fn gone(&self, _: DeviceGone, ctx: &Context) -> Result<Effects, Failure> {
        if ctx.state::<Gone>().await?.is_some() {
            return Ok(Effects::none());
        }
        let (device, since) = (ctx.key().to_owned(), ctx.time());
        let name = timer(&device);
        let missed = DeviceMissed { device, since };
        let gone = Gone {
            since,
            is_raised: false,
        };
        Ok(Effects::none()
            .set_timer(name, GONE_MAX, missed)
            .set_state(gone))
    }

    #[on(publishes = [AlarmRaised])]
    async fn missed(&self, missed: DeviceMissed, ctx: &Context) -> Result<Effects, Failure> {
        let gone: Option<Gone> = ctx.state().await?;
        // It has come back, or is gone again since: then there is another timer.
        let Some(gone) = gone.filter(|gone| gone.since == missed.since && !gone.is_raised) else {
            return Ok(Effects::none());
        };
        let raised = AlarmRaised {
            device: missed.device,
            kind: AlarmKind::Gone,
            since: gone.since,
        };
        let gone = Gone {
            is_raised: true,
            ..gone
        };
        Ok(Effects::none().publish(raised).set_state(gone))
    }

    #[on(on_dead = "skip", publishes = [AlarmCleared])]
    async fn back(&self, _: DeviceAsked, ctx: &Context) -> Result<Effects, Failure> {
        let Some(gone) = ctx.state::<Gone>().await? else {
            return Ok(Effects::none());
        };
        let effects = Effects::none().clear_state::<Gone>();
        if !gone.is_raised {
            return Ok(effects.cancel(timer(ctx.key())));
        }
        Ok(effects.publish(AlarmCleared {
            device: ctx.key().to_owned(),
            kind: AlarmKind::Gone,
            since: gone.since,
            until: ctx.time(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::TestApp;

    use super::*;

    async fn say<E: Event>(app: &TestApp, event: E) {
        app.publish(Outgoing::new(event).key("d")).await.unwrap();
        app.settle().await.unwrap();
    }

    async fn alarms(app: &TestApp) -> (usize, usize) {
        let raised = app.events::<AlarmRaised>().await.unwrap().len();
        (raised, app.events::<AlarmCleared>().await.unwrap().len())
    }

    #[tokio::test]
    async fn a_device_that_does_not_come_back_is_missed_until_it_does() {
        let app = TestApp::start(|app| app.service(Silence)).await.unwrap();
        say(&app, DeviceGone {}).await;
        app.advance(GONE_MAX / 2).await.unwrap();
        assert_eq!(alarms(&app).await, (0, 0));
        app.advance(GONE_MAX).await.unwrap();
        assert_eq!(alarms(&app).await, (1, 0));
        say(&app, DeviceAsked { ask: 1, sent: 0 }).await;
        assert_eq!(alarms(&app).await, (1, 1));
    }

    #[tokio::test]
    async fn a_device_that_comes_back_in_time_is_not_missed() {
        let app = TestApp::start(|app| app.service(Silence)).await.unwrap();
        say(&app, DeviceGone {}).await;
        say(&app, DeviceAsked { ask: 1, sent: 0 }).await;
        app.advance(GONE_MAX * 3).await.unwrap();
        assert_eq!(alarms(&app).await, (0, 0));
    }
}
