"""Random storms: whole agents through random stories of files, answers, crashes and clocks, the promise always kept."""
