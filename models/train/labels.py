"""The heads and their labels, in the order of the outputs."""

HEADS = {
    "sentiment": ["negative", "neutral", "positive"],
    "intent": ["churn", "problem", "help", "feature", "question", "complaint", "praise", "other"],
    "urgency": ["low", "normal", "high"],
}
