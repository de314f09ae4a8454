//! Given, when, then.

use ensue::testing::{Given, given};

use super::*;
use crate::domain::LOCKED_FOR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn ada() -> UserId {
    UserId::of_request("ada")
}

fn session(name: &str) -> SessionId {
    SessionId::from_hash(name.to_owned())
}

fn hash(text: &str) -> PasswordHash {
    serde_json::from_value(serde_json::json!(text)).unwrap()
}

fn origin(name: &str) -> OriginId {
    OriginId::from_hash(name.to_owned())
}

fn registered() -> UserRegistered {
    UserRegistered {
        user: ada(),
        email_key: "key".into(),
        email: "ada@example.com".parse::<Email>().unwrap().into(),
        password: hash("one").into(),
        confirm_until: at(100),
    }
}

fn active() -> Given<User> {
    given((registered(), confirmed("one")))
}

fn confirmed(password: &str) -> UserConfirmed {
    UserConfirmed {
        user: ada(),
        password: hash(password).into(),
        origin: origin("home"),
    }
}

fn logged_in(name: &str, until: i64) -> UserLoggedIn {
    UserLoggedIn {
        user: ada(),
        session: session(name),
        address: "192.0.2.7".to_owned().into(),
        origin: origin("home"),
        until: at(until),
    }
}

fn failed(locked_until: Option<i64>) -> UserLoginFailed {
    UserLoginFailed {
        user: ada(),
        address: "192.0.2.7".to_owned().into(),
        origin: origin("home"),
        locked_until: locked_until.map(at),
        strangers_until: None,
    }
}

fn changed(password: &str, reset: Option<&str>) -> PasswordChanged {
    PasswordChanged {
        user: ada(),
        password: hash(password).into(),
        origin: origin("home"),
        reset: reset.map(str::to_owned),
    }
}

#[test]
fn a_user_registers_once() {
    given::<User>(registered())
        .when(|it| it.register(registered()))
        .then_refused(Refusal::NoUser);
}

#[test]
fn an_address_is_confirmed_in_time_or_never() {
    given::<User>(registered())
        .when(|it| it.confirm(confirmed("two"), at(99)))
        .then(confirmed("two"));
    given::<User>(registered())
        .when(|it| it.confirm(confirmed("two"), at(100)))
        .then_refused(Refusal::LinkOver);
    let expired = ConfirmationExpired { user: ada() };
    let gone = given::<User>(registered()).and(expired.clone());
    assert_eq!(
        (gone.state().status(), gone.state().email()),
        (Status::Expired, None)
    );
    gone.when(|it| it.confirm(confirmed("two"), at(50)))
        .then_refused(Refusal::LinkOver);
    assert_eq!(active().and(expired).state().status(), Status::Active);
}

#[test]
fn who_has_not_confirmed_has_no_session() {
    given::<User>(registered())
        .when(|it| it.log_in(logged_in("s", 60), 1, at(1)))
        .then_refused(LoginRefusal::NotConfirmed);
    active()
        .when(|it| it.log_in(logged_in("s", 60), 2, at(1)))
        .then(logged_in("s", 60));
}

#[test]
fn the_password_is_that_of_who_confirms_the_address() {
    let user = given::<User>((registered(), confirmed("two")));
    let credentials = user.state().credentials(&origin("home"), at(1));
    assert_eq!(credentials.map(|it| it.number), Some(2));
    user.when(|it| it.log_in(logged_in("s", 60), 1, at(1)))
        .then_refused(LoginRefusal::PasswordChanged);
}

#[test]
fn wrong_passwords_in_a_row_lock_their_place_out_for_a_while() {
    let fail = |given: Given<User>, place: &str, second: i64| {
        let place = origin(place);
        given.when(|it| it.fail(&ada(), ("192.0.2.7", &place), 2, at(second)))
    };
    let four = || active().and([failed(None), failed(None), failed(None), failed(None)]);
    let lock = at(10).plus(LOCKED_FOR).as_micros() / 1_000_000;
    fail(four(), "home", 10).then(failed(Some(lock)));
    let locked = || four().and(failed(Some(lock)));
    locked()
        .when(|it| it.log_in(logged_in("s", 9_999), 2, at(lock - 1)))
        .then_refused(LoginRefusal::NotNow);
    fail(locked(), "home", lock - 1).then_refused(LoginRefusal::NotNow);
    locked()
        .when(|it| it.log_in(logged_in("s", 9_999), 2, at(lock)))
        .then(logged_in("s", 9_999));
    // Another place is not locked out with it.
    let elsewhere = UserLoggedIn {
        origin: origin("elsewhere"),
        ..logged_in("s", 9_999)
    };
    locked()
        .when(|it| it.log_in(elsewhere.clone(), 2, at(11)))
        .then(elsewhere.clone());
    // A right one in between begins the count anew.
    fail(four().and(logged_in("s", 9_999)), "home", 10).then(failed(None));
}

#[test]
fn another_password_ends_all_sessions_and_what_was_compared_with_the_old_one() {
    let changed = active().and(logged_in("s", 60)).and(changed("two", None));
    assert!(!changed.state().has_session(&session("s"), at(1)));
    changed
        .when(|it| it.log_in(logged_in("t", 60), 2, at(1)))
        .then_refused(LoginRefusal::PasswordChanged);
}

fn offer(reset: &str, until: i64) -> ResetOffered {
    ResetOffered {
        user: ada(),
        reset: reset.into(),
        until: at(until),
    }
}

#[test]
fn an_offer_of_a_reset_is_taken_once_and_in_time_and_ends_the_others() {
    let reset = |name: &str| changed("two", Some(name));
    let offered = || active().and((offer("r", 50), offer("later", 60)));
    for name in ["r", "later"] {
        offered()
            .when(|it| it.reset_password(reset(name), at(49)))
            .then(reset(name));
    }
    let refused = |given: Given<User>, now| {
        given
            .when(|it| it.reset_password(reset("r"), at(now)))
            .then_refused(Refusal::LinkOver);
    };
    refused(offered(), 50);
    refused(offered().and(reset("r")), 10);
    refused(offered().and(reset("later")), 10);
    refused(active(), 10);
}

#[test]
fn no_more_offers_are_made_than_stand_and_none_right_after_another() {
    let within = RESET_WITHIN.as_secs() as i64;
    let every = RESET_EVERY.as_secs() as i64;
    let ask = |given: Given<User>, now: i64| {
        given.when(|it| it.offer_reset(offer("new", now + within), at(now)))
    };
    let one = || active().and(offer("a", within));
    ask(one(), every - 1).then_refused(Refusal::Enough);
    ask(one(), every).then(offer("new", every + within));
    let all = || one().and((offer("b", within + 100), offer("c", within + 200)));
    ask(all(), within - 1).then_refused(Refusal::Enough);
    let after = ask(all(), within).after();
    let standing: Vec<_> = after.state().resets(at(within)).collect();
    assert_eq!(standing, ["b", "c", "new"]);
    ask(given(registered()), 10).then_refused(Refusal::NoUser);
}

#[test]
fn sessions_are_bounded_and_end_by_themselves() {
    let mut user = active();
    for number in 0..=SESSIONS_MAX {
        user = user.and(logged_in(&format!("s-{number}"), 100 + number as i64));
    }
    let user = user.state();
    assert!(!user.has_session(&session("s-0"), at(1)));
    assert!(user.has_session(&session("s-1"), at(100)));
    assert!(!user.has_session(&session("s-1"), at(101)));
}

#[test]
fn of_a_user_who_left_nothing_is_kept() {
    let profile = ProfilePublished {
        user: ada(),
        name: "Ada".to_owned().into(),
        about: String::new().into(),
    };
    let forgotten = UserForgotten {
        user: ada(),
        email_key: "key".into(),
    };
    let user = active().and((profile, logged_in("s", 60)));
    let gone = user.when(|it| it.forget(&ada(), 2));
    gone.then(forgotten).then_state(|user| {
        let nobody = User {
            status: Status::Forgotten,
            ..User::default()
        };
        assert_eq!(*user, nobody);
    });
}
