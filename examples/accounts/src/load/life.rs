//! The life of a made-up user.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::client::{Answer, Ask, Client};
use super::letters::Letters;
use crate::email::{Email, NotAnEmail};
use crate::mail::Subject;

/// Of so many users, one has a rival who registers with the same address at the same time.
const RACED_EVERY: u32 = 5;
const RIVALS_PASSWORD: &str = "the password of a rival";
/// How long the service has to notice what was done before it is asked about it again.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// A user, and what the service has told the user.
pub(super) struct Life {
    client: Client,
    /// Of the other who wants to have the same address.
    rival: Client,
    letters: Letters,
    number: u32,
    email: Email,
    password: String,
    user: String,
    /// The token of a session that goes on.
    token: Option<String>,
    /// What everybody may see.
    profile: Option<(String, String)>,
}

impl Life {
    pub(super) fn new(
        [client, rival]: [Client; 2],
        letters: Letters,
        seed: u64,
        number: u32,
    ) -> Result<Self, NotAnEmail> {
        let email = format!("user-{seed:x}-{number}@example.com").parse()?;
        Ok(Self {
            client,
            rival,
            letters,
            number,
            email,
            password: format!("the first password of {number}"),
            user: String::new(),
            token: None,
            profile: None,
        })
    }

    /// Whether the user registers twice at the same time.
    pub(super) fn is_raced(&self) -> bool {
        self.every(RACED_EVERY)
    }

    fn every(&self, nth: u32) -> bool {
        self.number.is_multiple_of(nth)
    }

    /// From the registration to what this user has in mind.
    pub(super) async fn live(&mut self) -> Result<(), String> {
        self.register().await?;
        if self.every(3) {
            self.mistype().await?;
        }
        self.log_in_first().await?;
        self.publish("about me").await?;
        if self.every(4) {
            self.change_password().await?;
        }
        if self.every(6) {
            self.reset_password().await?;
        }
        if self.every(7) {
            self.unpublish().await?;
        }
        if self.every(8) {
            self.log_out().await?;
        }
        if self.every(9) {
            self.look_back().await?;
        }
        if self.every(11) {
            self.forget().await?;
        }
        if self.number % 25 == 24 {
            self.attack().await?;
        }
        Ok(())
    }

    /// Asks again for what the user was told, and says what is not there.
    pub(super) async fn ask_again(&mut self) -> Result<Vec<String>, String> {
        let mut lost = Vec::new();
        if let Some(token) = self.token.clone() {
            let ask = Ask {
                token: Some(&token),
                ..Ask::default()
            };
            let shown = self.client.ask(Method::GET, "/v1/session", ask).await?;
            if shown.status != 200 || shown.said("/user") != self.user {
                lost.push(format!("the session of {}: {shown:?}", self.user));
            }
        }
        let path = format!("/v1/profiles/{}", self.user);
        let shown = self.client.ask(Method::GET, &path, Ask::default()).await?;
        let found = (shown.status == 200).then(|| profile_of(&shown));
        if found != self.profile {
            lost.push(format!(
                "the profile of {}: {:?} is {shown:?}",
                self.user, self.profile
            ));
        }
        Ok(lost)
    }

    async fn register(&mut self) -> Result<(), String> {
        let email = self.email.clone();
        let asking = register(&mut self.client, &email, &self.password, "first");
        if self.number.is_multiple_of(RACED_EVERY) {
            // Somebody else has the same idea at the same time.
            let also = register(&mut self.rival, &email, RIVALS_PASSWORD, "second");
            tokio::try_join!(asking, also)?;
        } else {
            asking.await?;
        }
        let mail = self
            .letters
            .wait(&self.email, Subject::Welcome, self.client.patience())
            .await?;
        self.user = mail.user.to_string();
        let (user, secret, password) = (&mail.user, &mail.secret, &self.password);
        let ask = Ask::of(json!({ "user": user, "secret": secret, "password": password }));
        self.expect(Method::POST, "/v1/confirmations", ask, &[204])
            .await?;
        Ok(())
    }

    /// Tries a wrong password.
    async fn mistype(&mut self) -> Result<(), String> {
        let ask = Ask::of(json!({ "email": self.email, "password": "something else" }));
        self.expect(Method::POST, "/v1/sessions", ask, &[401])
            .await?;
        Ok(())
    }

    /// With the password of who reads the mail: whoever else registered the address, and was perhaps
    /// faster, has no part in it.
    async fn log_in_first(&mut self) -> Result<(), String> {
        if self.is_raced() {
            let ask = Ask::of(json!({ "email": self.email, "password": RIVALS_PASSWORD }));
            self.expect(Method::POST, "/v1/sessions", ask, &[401])
                .await?;
        }
        self.log_in().await
    }

    async fn log_in(&mut self) -> Result<(), String> {
        let ask = Ask::of(json!({ "email": self.email, "password": self.password }));
        let begun = self
            .expect(Method::POST, "/v1/sessions", ask, &[201])
            .await?;
        if begun.said("/user") != self.user {
            return Err(format!(
                "{} is logged in as {:?}",
                self.user,
                begun.said("/user")
            ));
        }
        self.token = Some(begun.said("/token").to_owned());
        Ok(())
    }

    async fn publish(&mut self, about: &str) -> Result<(), String> {
        let (name, about) = (format!("User {}", self.number), about.to_owned());
        let body = json!({ "name": name, "about": about });
        let published = self
            .in_session(Method::PUT, "/v1/profile", Some(body), &[204])
            .await?;
        self.profile = Some((name, about));
        let path = format!("/v1/profiles/{}", self.user);
        let position = published.position.as_deref();
        let ask = Ask {
            position,
            ..Ask::default()
        };
        let shown = self.expect(Method::GET, &path, ask, &[200, 404]).await?;
        // Who was told where it is sees it; who had to ask twice may have to wait.
        if position.is_some() && Some(profile_of(&shown)) != self.profile {
            return Err(format!("{} does not see the profile: {shown:?}", self.user));
        }
        Ok(())
    }

    async fn unpublish(&mut self) -> Result<(), String> {
        // Asked twice, it may be down already.
        self.in_session(Method::DELETE, "/v1/profile", None, &[204, 404])
            .await?;
        self.profile = None;
        Ok(())
    }

    async fn change_password(&mut self) -> Result<(), String> {
        let new = format!("the second password of {}", self.number);
        let body = json!({ "old": self.password, "new": new });
        let changed = self
            .in_session(Method::PUT, "/v1/password", Some(body), &[204, 401])
            .await?;
        // Asked twice, the session may have ended with the old password.
        if changed.status != 204 && !changed.is_repeated {
            return Err(format!(
                "{} cannot change the password: {changed:?}",
                self.user
            ));
        }
        self.password = new;
        self.see_the_end().await?;
        self.log_in().await
    }

    async fn reset_password(&mut self) -> Result<(), String> {
        let ask = Ask::of(json!({ "email": self.email }));
        self.expect(Method::POST, "/v1/password-resets", ask, &[202])
            .await?;
        let mail = self
            .letters
            .wait(&self.email, Subject::Reset, self.client.patience())
            .await?;
        let new = format!("the third password of {}", self.number);
        let ask = Ask::of(json!({ "user": mail.user, "secret": mail.secret, "password": new }));
        let reset = self
            .expect(Method::PUT, "/v1/password-resets", ask, &[204, 410])
            .await?;
        if reset.status != 204 && !reset.is_repeated {
            return Err(format!(
                "{} cannot reset the password: {reset:?}",
                self.user
            ));
        }
        self.password = new;
        self.see_the_end().await?;
        self.log_in().await
    }

    async fn log_out(&mut self) -> Result<(), String> {
        self.in_session(Method::DELETE, "/v1/session", None, &[204, 401])
            .await?;
        self.see_the_end().await
    }

    /// Reads what the service knows.
    async fn look_back(&mut self) -> Result<(), String> {
        if self.token.is_none() {
            self.log_in().await?;
        }
        let log_ins = self
            .in_session(Method::GET, "/v1/user/log-ins", None, &[200])
            .await?;
        let export = self
            .in_session(Method::GET, "/v1/user/export", None, &[200])
            .await?;
        let is_whole = export.said("/0/data/email") == self.email.as_str();
        if log_ins.body.as_array().is_none_or(Vec::is_empty) || !is_whole {
            return Err(format!(
                "{} gets another history: {log_ins:?}, {export:?}",
                self.user
            ));
        }
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), String> {
        if self.token.is_none() {
            self.log_in().await?;
        }
        let body = json!({ "password": self.password });
        let path = "/v1/user";
        let forgotten = self
            .in_session(Method::DELETE, path, Some(body), &[204, 401])
            .await?;
        if forgotten.status != 204 && !forgotten.is_repeated {
            return Err(format!("{} cannot leave: {forgotten:?}", self.user));
        }
        self.profile = None;
        self.see_the_end().await?;
        self.mistype().await
    }

    /// Tries the passwords of users who do not exist until the service has enough.
    async fn attack(&mut self) -> Result<(), String> {
        let began = std::time::Instant::now();
        for attempt in 0_u32.. {
            let email = format!("nobody-{}-{attempt}@example.com", self.number);
            let ask = Ask::of(json!({ "email": email, "password": "123456" }));
            let refused = self
                .expect(Method::POST, "/v1/sessions", ask, &[401, 429])
                .await?;
            if refused.said("/code") == "address-blocked" {
                return Ok(());
            }
            if began.elapsed() > self.client.patience() {
                return Err(format!("nobody minds an attack: {refused:?}"));
            }
            tokio::time::sleep(NOTICED_WITHIN).await;
        }
        Ok(())
    }

    /// The session has ended, and the service knows.
    async fn see_the_end(&mut self) -> Result<(), String> {
        self.in_session(Method::GET, "/v1/session", None, &[401])
            .await?;
        self.token = None;
        Ok(())
    }

    async fn in_session(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        expected: &[u16],
    ) -> Result<Answer, String> {
        let token = self.token.clone();
        let token = token.as_deref();
        let ask = Ask {
            token,
            body,
            ..Ask::default()
        };
        self.expect(method, path, ask, expected).await
    }

    async fn expect(
        &mut self,
        method: Method,
        path: &str,
        ask: Ask<'_>,
        expected: &[u16],
    ) -> Result<Answer, String> {
        expect(&mut self.client, method, path, ask, expected).await
    }
}

/// Registers once, however often it is asked.
async fn register(
    client: &mut Client,
    email: &Email,
    password: &str,
    which: &str,
) -> Result<(), String> {
    let once = format!("{which}-{}", email.as_str());
    let ask = Ask {
        once: Some(&once),
        ..Ask::of(json!({ "email": email, "password": password }))
    };
    expect(client, Method::POST, "/v1/registrations", ask, &[202]).await?;
    Ok(())
}

async fn expect(
    client: &mut Client,
    method: Method,
    path: &str,
    ask: Ask<'_>,
    expected: &[u16],
) -> Result<Answer, String> {
    let answer = client.ask(method.clone(), path, ask).await?;
    if expected.contains(&answer.status) {
        return Ok(answer);
    }
    Err(format!(
        "{method} {path} is answered by {answer:?}, not {expected:?}"
    ))
}

fn profile_of(shown: &Answer) -> (String, String) {
    (
        shown.said("/name").to_owned(),
        shown.said("/about").to_owned(),
    )
}
