BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'search');
INSERT INTO "studies" VALUES(2,'race');
INSERT INTO "studies" VALUES(3,'confirmation');
INSERT INTO "studies" VALUES(4,'recording');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',2,0);
INSERT INTO "study_directions" VALUES(3,'MAXIMIZE',3,0);
INSERT INTO "study_directions" VALUES(4,'MAXIMIZE',4,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'schema_version','1');
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','{"task": "tickets", "data": "68e3d28c67b38dad", "model": "9a4bd86ecd66aa95", "space": {"method": ["dps-dense"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}, "selection_ratio": {"kind": "range", "low": 0.2, "high": 0.9, "log": false}, "update_ratio": {"kind": "range", "low": 0.15, "high": 0.25, "log": true}}, "max_steps": 20, "seed": 0, "scheduler": "asha", "sampler": "tpe", "batch_size": 16, "epochs": 3.0, "max_length": 128, "evaluations": 6, "train_size": null, "select_on": "holdout", "precision": "fp32", "transfer": null, "probe": null}');
INSERT INTO "study_user_attributes" VALUES(3,1,'git_dirty','false');
INSERT INTO "study_user_attributes" VALUES(4,1,'precision','"fp32"');
INSERT INTO "study_user_attributes" VALUES(5,1,'search_id','"a0b6adc9300b40c6a09c98e4bf9c1b57"');
INSERT INTO "study_user_attributes" VALUES(6,1,'warm_start','[[], []]');
INSERT INTO "study_user_attributes" VALUES(7,1,'seconds','30.731315676999884');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,3,3.42105263157894745607e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,7,4.47368421052631581869e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,10,9.47368421052631526357e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,13,1.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,17,1.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,20,1.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,2,3,3.68421052631578926916e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,2,7,4.21052631578947345047e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,2,10,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,3,3,3.42105263157894745607e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,4,20,1.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,5,20,1.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,6,20,8.54166666666666629659e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,7,20,9.16666666666666629659e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(3,1,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'learning_rate',4.79471406569845340133e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(5,2,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(7,3,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(8,3,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(10,4,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(11,4,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(12,4,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(13,5,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(14,6,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(15,6,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(16,6,'update_ratio',0.15,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.15, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(17,7,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(4,4,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(5,5,'fixed_params','{"method": "vanilla", "learning_rate": 0.00012247448713915892}');
INSERT INTO "trial_system_attributes" VALUES(6,6,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_system_attributes" VALUES(7,7,'fixed_params','{"method": "vanilla", "learning_rate": 0.00012247448713915892}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(2,1,'configuration','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'seconds','4.358566140999983');
INSERT INTO "trial_user_attributes" VALUES(5,1,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'began','1795945798.593497');
INSERT INTO "trial_user_attributes" VALUES(7,1,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'selected_share','0.700002167429602');
INSERT INTO "trial_user_attributes" VALUES(9,1,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(10,1,'peak_memory','1186951168');
INSERT INTO "trial_user_attributes" VALUES(11,1,'parts','{"start": 0.19436494500018853, "evaluation": 0.8305898980004258, "report": 0.018914315999609244}');
INSERT INTO "trial_user_attributes" VALUES(12,2,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(13,2,'configuration','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(14,2,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(15,2,'seconds','2.3123682799998733');
INSERT INTO "trial_user_attributes" VALUES(16,2,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(17,2,'began','1795945803.1142638');
INSERT INTO "trial_user_attributes" VALUES(18,2,'waited','0.1621789370001352');
INSERT INTO "trial_user_attributes" VALUES(19,3,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(20,3,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(21,3,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'seconds','0.8750064159999056');
INSERT INTO "trial_user_attributes" VALUES(23,3,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(24,3,'began','1795945805.6803954');
INSERT INTO "trial_user_attributes" VALUES(25,3,'waited','0.07052470900021035');
INSERT INTO "trial_user_attributes" VALUES(26,4,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(27,4,'configuration','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(28,4,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(29,4,'seconds','3.9528778789999706');
INSERT INTO "trial_user_attributes" VALUES(30,4,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(31,4,'began','1795945807.0513635');
INSERT INTO "trial_user_attributes" VALUES(32,4,'waited','0.2279346620000524');
INSERT INTO "trial_user_attributes" VALUES(33,4,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(34,4,'selected_share','0.7000021364663218');
INSERT INTO "trial_user_attributes" VALUES(35,4,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(36,4,'peak_memory','1227993088');
INSERT INTO "trial_user_attributes" VALUES(37,4,'parts','{"start": 0.028947367000000668, "evaluation": 0.1772828779999145, "report": 0.009895705999952042}');
INSERT INTO "trial_user_attributes" VALUES(38,4,'final','{"dev": {"accuracy": 1.0}}');
INSERT INTO "trial_user_attributes" VALUES(39,5,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(40,5,'configuration','{"method": "vanilla", "learning_rate": 0.00012247448713915892}');
INSERT INTO "trial_user_attributes" VALUES(41,5,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(42,5,'seconds','3.916025447000038');
INSERT INTO "trial_user_attributes" VALUES(43,5,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(44,5,'began','1795945811.1093566');
INSERT INTO "trial_user_attributes" VALUES(45,5,'waited','0.10508159400001205');
INSERT INTO "trial_user_attributes" VALUES(46,5,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(47,5,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(48,5,'peak_memory','1170518016');
INSERT INTO "trial_user_attributes" VALUES(49,5,'parts','{"start": 0.0037839740000435995, "evaluation": 0.17545837199986636, "report": 0.002710161000095468}');
INSERT INTO "trial_user_attributes" VALUES(50,5,'final','{"dev": {"accuracy": 1.0}}');
INSERT INTO "trial_user_attributes" VALUES(51,6,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(52,6,'configuration','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.15}');
INSERT INTO "trial_user_attributes" VALUES(53,6,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(54,6,'seconds','3.9408910250001554');
INSERT INTO "trial_user_attributes" VALUES(55,6,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(56,6,'began','1795945815.2841682');
INSERT INTO "trial_user_attributes" VALUES(57,6,'waited','0.25875873999984833');
INSERT INTO "trial_user_attributes" VALUES(58,6,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(59,6,'selected_share','0.700002167429602');
INSERT INTO "trial_user_attributes" VALUES(60,6,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(61,6,'peak_memory','1231974400');
INSERT INTO "trial_user_attributes" VALUES(62,6,'parts','{"start": 0.021944887000017843, "evaluation": 0.18944124200015722, "report": 0.002564332000019931}');
INSERT INTO "trial_user_attributes" VALUES(63,6,'final','{"dev": {"accuracy": 0.8541666666666666}}');
INSERT INTO "trial_user_attributes" VALUES(64,7,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(65,7,'configuration','{"method": "vanilla", "learning_rate": 0.00012247448713915892}');
INSERT INTO "trial_user_attributes" VALUES(66,7,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(67,7,'seconds','4.075682198999857');
INSERT INTO "trial_user_attributes" VALUES(68,7,'slot','"fae1df94"');
INSERT INTO "trial_user_attributes" VALUES(69,7,'began','1795945819.298297');
INSERT INTO "trial_user_attributes" VALUES(70,7,'waited','0.07320278200018038');
INSERT INTO "trial_user_attributes" VALUES(71,7,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(72,7,'passes','20.0');
INSERT INTO "trial_user_attributes" VALUES(73,7,'peak_memory','1166217216');
INSERT INTO "trial_user_attributes" VALUES(74,7,'parts','{"start": 0.0038643259999844304, "evaluation": 0.19298047500001303, "report": 0.0028099409998958436}');
INSERT INTO "trial_user_attributes" VALUES(75,7,'final','{"dev": {"accuracy": 0.9166666666666666}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,1.0,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,3.42105263157894745607e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,1.0,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,1.0,'FINITE');
INSERT INTO "trial_values" VALUES(6,6,0,8.54166666666666629659e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,7,0,9.16666666666666629659e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-29 09:49:52.950816','2026-11-29 09:50:02.990301');
INSERT INTO "trials" VALUES(2,1,1,'PRUNED','2026-11-29 09:50:03.016391','2026-11-29 09:50:05.465713');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-29 09:50:05.478235','2026-11-29 09:50:06.585202');
INSERT INTO "trials" VALUES(4,0,3,'COMPLETE','2026-11-29 09:50:06.601553','2026-11-29 09:50:11.022577');
INSERT INTO "trials" VALUES(5,1,3,'COMPLETE','2026-11-29 09:50:11.039916','2026-11-29 09:50:15.056768');
INSERT INTO "trials" VALUES(6,2,3,'COMPLETE','2026-11-29 09:50:15.080330','2026-11-29 09:50:19.245719');
INSERT INTO "trials" VALUES(7,3,3,'COMPLETE','2026-11-29 09:50:19.258898','2026-11-29 09:50:23.409048');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
