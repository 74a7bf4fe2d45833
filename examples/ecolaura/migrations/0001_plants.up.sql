CREATE TABLE plants (
    id               INTEGER PRIMARY KEY,
    name             TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    species          TEXT    NOT NULL,
    place            TEXT    NOT NULL DEFAULT '',
    water_every_days INTEGER NOT NULL CHECK (water_every_days BETWEEN 1 AND 365),
    created_at       TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

INSERT INTO plants (id, name, species, place, water_every_days, created_at) VALUES
    (1, 'Ada',     'Monstera deliciosa',     'living room', 7,  '2026-01-05T09:00:00Z'),
    (2, 'Basil',   'Ocimum basilicum',       'kitchen',     2,  '2026-01-12T17:30:00Z'),
    (3, 'Fern',    'Nephrolepis exaltata',   'bathroom',    3,  '2026-02-02T08:15:00Z'),
    (4, 'Spike',   'Sansevieria trifasciata', 'study',      21, '2026-02-20T12:00:00Z'),
    (5, 'Olivia',  'Olea europaea',          'balcony',     5,  '2026-03-08T10:45:00Z'),
    (6, 'Pearl',   'Curio rowleyanus',       'bedroom',     14, '2026-03-29T16:20:00Z');
