//! A client that is a member of a group.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::site::Site;

pub(crate) struct MemberClient {
    pub(crate) client: Client,
    pub(crate) path: String,
    pub(crate) joined: Value,
}

pub(crate) async fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    client
        .send(Method::POST, path, &headers, body.to_string())
        .await
}

impl MemberClient {
    /// Joins `group` for the topic `orders`, with `more` in the body.
    pub(crate) async fn join(site: &Site, group: &str, more: Value) -> Self {
        Self::at(site.client().await, group, more).await
    }

    /// The same over this connection.
    pub(crate) async fn at(mut client: Client, group: &str, more: Value) -> Self {
        let mut body = json!({"topics": ["orders"]});
        let (Some(all), Some(more)) = (body.as_object_mut(), more.as_object()) else {
            panic!("{more}");
        };
        all.extend(more.clone());
        let path = format!("/v1/groups/{group}/members");
        let joined = post(&mut client, &path, &body).await.ok();
        let id = joined["member"].as_str().unwrap();
        Self {
            path: format!("{path}/{id}"),
            client,
            joined,
        }
    }

    pub(crate) async fn try_take(&mut self, query: &str) -> Answer {
        let path = format!("{}/take?{query}", self.path);
        self.client.send(Method::POST, &path, &[], "").await
    }

    pub(crate) async fn take(&mut self, query: &str) -> Vec<Value> {
        let taken = self.try_take(query).await.ok();
        taken["deliveries"].as_array().unwrap().clone()
    }

    pub(crate) async fn commit(&mut self, body: Value) -> Answer {
        let path = format!("{}/commit", self.path);
        post(&mut self.client, &path, &body).await
    }

    /// Commits that a delivery is done, with `more` of it.
    pub(crate) async fn settle(&mut self, delivery: &Value, more: Value) -> Answer {
        self.commit(json!({"settle": [of(delivery, more)]})).await
    }

    pub(crate) async fn leave(&mut self) -> Answer {
        let path = self.path.clone();
        self.client.send(Method::DELETE, &path, &[], "").await
    }
}

/// What names a delivery in a commit, with `more`.
pub(crate) fn of(delivery: &Value, more: Value) -> Value {
    let mut said = json!({
        "position": delivery["position"],
        "generation": delivery["generation"],
    });
    if let (Some(said), Some(more)) = (said.as_object_mut(), more.as_object()) {
        said.extend(more.clone());
    }
    said
}

/// The ids of deliveries.
pub(crate) fn ids(deliveries: &[Value]) -> Vec<&str> {
    let ids = deliveries.iter().map(|it| it["event"]["id"].as_str());
    ids.map(Option::unwrap).collect()
}
