"""The decisions: data in, decisions out; time and chance are arguments, nothing here touches the world."""
