"""It calls you: what somebody should know of goes out by webhooks, robots and e-mail. May touch the network.

In a thread of its own: no delivery waits for it. No message holds anything of a patient."""

from folder_agent.edges.calling.caller import Caller
from folder_agent.edges.calling.channels import Channel, NotSent, channels_of
from folder_agent.edges.calling.messages import Event, Message, test_message

__all__ = ["Caller", "Channel", "Event", "Message", "NotSent", "channels_of", "test_message"]
