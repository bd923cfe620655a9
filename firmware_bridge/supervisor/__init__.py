"""The written state machine: who may send what, and when to hand back."""
