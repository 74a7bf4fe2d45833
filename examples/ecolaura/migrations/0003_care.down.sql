DROP TABLE reminders;
DROP TABLE waterings;
