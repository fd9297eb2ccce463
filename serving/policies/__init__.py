"""Policies that need a running gateway: what was answered, what was spent, who holds the conversation.

request → (spending so far, who answered last) → decision → first answer → its confidence → kept, or the next
"""
