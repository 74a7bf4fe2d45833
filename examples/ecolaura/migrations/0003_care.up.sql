CREATE TABLE waterings (
    id         INTEGER PRIMARY KEY,
    plant_id   INTEGER NOT NULL REFERENCES plants (id) ON DELETE CASCADE,
    millilitres INTEGER NOT NULL CHECK (millilitres BETWEEN 1 AND 20000),
    watered_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE INDEX waterings_by_plant ON waterings (plant_id, id);

INSERT INTO waterings (id, plant_id, millilitres, watered_at) VALUES
    (1,  1, 500,  '2026-07-01T08:00:00Z'),
    (2,  1, 450,  '2026-07-08T08:00:00Z'),
    (3,  2, 150,  '2026-07-08T18:00:00Z'),
    (4,  2, 150,  '2026-07-10T18:00:00Z'),
    (5,  2, 200,  '2026-07-12T18:00:00Z'),
    (6,  3, 250,  '2026-07-11T07:30:00Z'),
    (7,  4, 100,  '2026-06-22T21:00:00Z'),
    (8,  5, 1200, '2026-07-10T20:00:00Z'),
    (9,  6, 80,   '2026-07-02T15:00:00Z'),
    (10, 3, 250,  '2026-07-14T07:30:00Z');

CREATE TABLE reminders (
    id         INTEGER PRIMARY KEY,
    plant_id   INTEGER NOT NULL REFERENCES plants (id) ON DELETE CASCADE,
    message    TEXT    NOT NULL CHECK (length(message) BETWEEN 1 AND 200),
    due_on     TEXT    NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1))
);

INSERT INTO reminders (id, plant_id, message, due_on, done) VALUES
    (1, 1, 'Water Ada',                 '2026-07-15', 0),
    (2, 2, 'Water Basil',               '2026-07-14', 0),
    (3, 5, 'Feed Olivia before autumn', '2026-08-20', 0),
    (4, 3, 'Mist Fern',                 '2026-07-13', 1),
    (5, 6, 'Repot Pearl',               '2026-09-01', 0);
