CREATE TABLE notes (
    id         INTEGER PRIMARY KEY,
    plant_id   INTEGER NOT NULL REFERENCES plants (id) ON DELETE CASCADE,
    text       TEXT    NOT NULL CHECK (length(text) BETWEEN 1 AND 2000),
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE INDEX notes_by_plant ON notes (plant_id, id);

INSERT INTO notes (id, plant_id, text, created_at) VALUES
    (1, 1, 'Third split leaf of the year, and it is the size of a plate.', '2026-04-02T08:10:00Z'),
    (2, 1, 'Turned the pot: it leans to the window.',                       '2026-04-19T18:05:00Z'),
    (3, 2, 'Pinched the flowers out, the leaves smell stronger now.',       '2026-04-21T12:40:00Z'),
    (4, 3, 'Brown tips. The air is too dry; moved it to the bathroom.',     '2026-05-03T07:55:00Z'),
    (5, 3, 'New fronds after a week of steam.',                             '2026-05-11T09:30:00Z'),
    (6, 5, 'First olives!',                                                 '2026-06-14T19:20:00Z'),
    (7, 6, 'Two strings broke off; rooted them in damp sand.',              '2026-06-20T15:00:00Z'),
    (8, 4, 'Forgot it for five weeks. It did not mind.',                    '2026-07-01T21:15:00Z');
