//! A ticket that has changed, routed again.
//!
//! It goes to whom a new one of its kind would go to, and stays where it is as far as that is as good: with its agent
//! while it is their team's and they may have it, with its team where no rule speaks of it any more, and with a
//! supplier, who has it outside the house, unless a rule names another one.
//!
//! An agent who is there has begun with it, and one word in a later post takes it from nobody: of another team it becomes
//! only by a rule that [presses](crate::desk::when::When::presses), and then the reasons say from whom.

use jiff::Timestamp;

use super::choice::{self, Want};
use super::memory::Open;
use super::{Router, Routes};
use crate::access::brands::is_same;
use crate::desk::when::Facts;
use crate::ticket::{TicketId, proto};

impl Router {
    /// Who has a ticket from now on that has changed, and keeps that in mind; `None`: it stays where it is.
    ///
    /// `facts` are what it is now, `has_it` is who has it as far as the ledger knows: `None` where no route spoke of it.
    pub fn reroute(
        &mut self,
        routes: &Routes,
        facts: &Facts<'_>,
        ticket: TicketId,
        has_it: Option<&proto::Assignment>,
    ) -> Option<proto::Assignment> {
        self.open.wants(ticket, |want| want.priority = facts.priority);
        let target = routes.target(facts)?;
        let supplier = has_it.map_or("", |before| before.supplier.as_str());
        let is_same_supplier = is_same(supplier, target.supplier.unwrap_or_default());
        if !supplier.is_empty() && (target.supplier.is_none() || is_same_supplier) {
            return None;
        }
        if let Some(before) = has_it
            && self.open.get(ticket).is_none()
        {
            // It is older than what is kept in mind.
            self.restore(ticket, &before.team, &before.agent, true, true);
        }
        let (_, want) = Want::of(routes, &target, facts);
        let team = has_it.map(|before| before.team.as_str());
        let is_same_team = team.is_some_and(|team| is_same(team, &target.team)) && is_same_supplier;
        match self.open.get(ticket) {
            // A helpdesk has named somebody, and the ledger knows it by now or will.
            Some(Open { agent: Some(_), is_ours: false, .. }) => return None,
            Some(open) if is_same_supplier && open.want.is_as(&want) => return None,
            Some(Open { agent: Some(agent), .. })
                if !(is_same_team || target.presses) && self.is_at_work(agent, routes, facts.now) =>
            {
                return None;
            }
            _ => {}
        }
        let before = self.open.remove(ticket);
        let agent = before.as_ref().and_then(|open| open.agent.clone());
        self.count_down(agent.as_deref());
        let stays = |router: &Router, now_of: &str| {
            let member = agent.as_deref().and_then(|agent| router.by_name.get(agent));
            let member = member.and_then(|place| router.members.get(*place));
            team.is_some_and(|team| is_same(team, now_of))
                && member
                    .is_some_and(|member| choice::may_keep(member, now_of, &want, &routes.zone, facts.now))
        };
        let weighing = match target.supplier {
            None if stays(self, &target.team) => None,
            _ => self.weigh(routes, facts),
        };
        let moves = weighing.filter(|weighing| {
            let now = &weighing.assignment;
            let is_where_it_was = has_it.is_some_and(|before| {
                is_same(&before.team, &now.team) && is_same(&before.supplier, &now.supplier)
            });
            // Nobody else can: then whoever has it keeps it.
            let is_of_nobody_else = now.agent.is_empty() || agent.as_deref() == Some(&*now.agent);
            !(is_where_it_was && (is_of_nobody_else || stays(self, &now.team)))
        });
        let age = before.as_ref().map_or(0, |open| open.age);
        let Some(weighing) = moves else {
            if let Some(Open { is_ours, .. }) = before {
                agent.iter().for_each(|agent| self.count_up(agent));
                self.hold(ticket, Open { age, agent, is_ours, want: want.without_words() });
            }
            return None;
        };
        self.keep(&weighing, ticket, age);
        let mut assignment = weighing.assignment;
        if let Some(agent) = agent.filter(|agent| **agent != *assignment.agent) {
            // After the rule that says so.
            assignment.reasons.insert(assignment.reasons.len().min(1), format!("taken over from {agent}"));
        }
        Some(assignment)
    }

    fn is_at_work(&self, agent: &str, routes: &Routes, now: Timestamp) -> bool {
        let member = self.by_name.get(agent).and_then(|place| self.members.get(*place));
        member.is_some_and(|member| choice::is_at_work(member, &routes.zone, now))
    }
}

#[cfg(test)]
mod tests;
