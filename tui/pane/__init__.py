"""One session on the screen: puts transcript, composer, questions and lists together."""
